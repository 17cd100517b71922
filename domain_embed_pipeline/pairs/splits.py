"""Which documents are trained on and which are held out.

What belongs here: the side of each cluster of documents, and the side of each chunk that follows. What does not: who is
a near duplicate (`clusters`), queries (`evaluation_sets`).
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from domain_embed_pipeline.errors import CorpusTooSmallError, PairsError
from domain_embed_pipeline.ids import digest_of, version_of
from domain_embed_pipeline.pairs.clusters import ClusterSettings, cluster_corpus
from domain_embed_pipeline.records import ChunkCluster, Corpus, DocumentSplit, DocumentSplits, Split

logger = logging.getLogger(__name__)

ChunkSide = Literal["train", "dev", "test", "mixed"]
"""`mixed`: near duplicates of the chunk lie on several sides, so it is neither trained on nor asked about."""


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How much is held out."""

    dev_share: float = 0.1
    """Share of document clusters for dev; too little and the choice of the checkpoint is noise."""
    test_share: float = 0.1
    """Share of document clusters for test; too little and no gain can be shown."""
    seed: int = 13
    """Another seed gives another split, and figures that cannot be compared with earlier ones."""
    minimum_clusters: int = 10
    """Independent documents below which nothing is held out: a test side of one document says nothing."""
    largest_held_out_share: float = 0.25
    """A cluster with more than this share of all chunks is always trained on; held out, it would starve training."""
    clusters: ClusterSettings = field(default_factory=ClusterSettings)

    @property
    def digest(self) -> str:
        """Of what decides the side of a cluster: shares and seed."""
        return digest_of("splits", str(self.dev_share), str(self.test_share), str(self.seed))[:12]

    def __post_init__(self) -> None:
        if min(self.dev_share, self.test_share) <= 0 or self.dev_share + self.test_share > 0.8:
            raise PairsError(
                f"dev_share is {self.dev_share} and test_share is {self.test_share}.",
                fix="Choose two positive shares whose sum is at most 0.8.",
            )


def split_documents(
    corpus: Corpus,
    *,
    settings: SplitSettings | None = None,
    has_user_queries: bool,
    previous: DocumentSplits | None = None,
) -> DocumentSplits:
    """Side of every document, and near-duplicate clusters of chunks.

    A cluster's side is the hash of a representative: the member with the smallest hash. So a document's side depends on
    its own cluster only, never on the rest of the corpus or on the order of files, and large clusters are held out no
    more often than small ones. When documents join a cluster, the representative, and with it the side, may change;
    `previous` rules that out: a cluster keeps the side that its members had, and where clusters of different sides have
    become one, test goes before dev and dev before train (a held-out document is never trained on afterwards).

    Args:
        corpus: All documents and chunks.
        settings: Shares and seed.
        has_user_queries: True when the user's own queries are the evaluation set: nothing is then held out.
        previous: Splits of an earlier version of the corpus; of no effect when made with other shares or another seed.

    Raises:
        CorpusTooSmallError: If there are fewer independent documents than `minimum_clusters`.
    """
    settings = settings or SplitSettings()
    chunk_clusters, document_clusters = cluster_corpus(corpus, settings=settings.clusters)
    members: dict[str, list[str]] = defaultdict(list)
    for document_id, cluster_id in document_clusters.items():
        members[cluster_id].append(document_id)
    if has_user_queries:
        sides: dict[str, Split] = dict.fromkeys(members, "train")
    else:
        earlier = previous if previous is not None and previous.settings_digest == settings.digest else None
        sides = _sides(members, _chunk_shares(corpus, document_clusters), settings, earlier)
    rows = tuple(
        DocumentSplit(document_id, cluster_id, sides[cluster_id])
        for document_id, cluster_id in sorted(document_clusters.items())
    )
    clusters = tuple(ChunkCluster(chunk_id, cluster_id) for chunk_id, cluster_id in sorted(chunk_clusters.items()))
    parts = [f"{row.document_id}\x00{row.cluster_id}\x00{row.split}" for row in rows]
    version = version_of("splits", [*parts, *(f"{row.chunk_id}\x00{row.cluster_id}" for row in clusters)])
    return DocumentSplits(corpus.corpus_version, version, not has_user_queries, rows, clusters, settings.digest)


def chunk_sides(corpus: Corpus, splits: DocumentSplits) -> dict[str, ChunkSide]:
    """`chunk_id -> side`: that of all documents that hold the chunk or a near duplicate of it, else `mixed`."""
    split_of: dict[str, Split] = {row.document_id: row.split for row in splits.documents}
    cluster_of = cluster_of_chunks(splits)
    found: dict[str, set[Split]] = defaultdict(set)
    for chunk in corpus.chunks:
        for document_id in chunk.document_ids:
            found[cluster_of[chunk.chunk_id]].add(split_of[document_id])
    sides: dict[str, ChunkSide] = {}
    for chunk in corpus.chunks:
        side, *others = sorted(found[cluster_of[chunk.chunk_id]])
        sides[chunk.chunk_id] = "mixed" if others else side
    return sides


def cluster_of_chunks(splits: DocumentSplits) -> dict[str, str]:
    """`chunk_id -> cluster id`."""
    return {row.chunk_id: row.cluster_id for row in splits.chunk_clusters}


def _sides(
    members: Mapping[str, list[str]],
    chunk_shares: Mapping[str, float],
    settings: SplitSettings,
    previous: DocumentSplits | None,
) -> dict[str, Split]:
    if len(members) < settings.minimum_clusters:
        raise CorpusTooSmallError(
            f"The corpus has {len(members)} independent documents (near duplicates counted once); holding some out "
            f"needs at least {settings.minimum_clusters}.",
            fix="Supply your own queries with relevance judgments (DOMAIN_EMBED_QUERIES_PATH: queries.jsonl and "
            "qrels/test.tsv), add documents, or cut one long file into several.",
        )
    places = {cluster_id: _place(documents, settings.seed) for cluster_id, documents in members.items()}
    kept = _previous_sides(members, previous)
    sides: dict[str, Split] = {}
    for cluster_id in members:
        if cluster_id in kept:
            sides[cluster_id] = kept[cluster_id]
        elif chunk_shares.get(cluster_id, 0.0) > settings.largest_held_out_share:
            sides[cluster_id] = "train"
        else:
            sides[cluster_id] = _side_at(places[cluster_id], settings)
    free = [
        cluster_id for cluster_id in members if chunk_shares.get(cluster_id, 0.0) <= settings.largest_held_out_share
    ]
    return _with_no_side_empty(sides, sorted(free, key=lambda cluster_id: (places[cluster_id], cluster_id)))


def _place(documents: Iterable[str], seed: int) -> float:
    """Place of a cluster in [0, 1): a hash of the member with the smallest (independent) hash."""
    representative = min(documents, key=lambda document_id: digest_of("representative", str(seed), document_id))
    return int(digest_of("side", str(seed), representative)[:13], 16) / 16**13


def _side_at(place: float, settings: SplitSettings) -> Split:
    if place < settings.test_share:
        return "test"
    return "dev" if place < settings.test_share + settings.dev_share else "train"


def _previous_sides(members: Mapping[str, list[str]], previous: DocumentSplits | None) -> dict[str, Split]:
    if previous is None or not previous.holds_out:
        return {}
    split_of = {row.document_id: row.split for row in previous.documents}
    order: tuple[Split, ...] = ("test", "dev", "train")
    sides: dict[str, Split] = {}
    for cluster_id, documents in members.items():
        known = {split_of[document_id] for document_id in documents if document_id in split_of}
        if known:
            sides[cluster_id] = next(side for side in order if side in known)
        if len(known) > 1:
            logger.warning(
                "Documents of different sides have become near duplicates of each other and are now all in %s: %s.",
                sides[cluster_id],
                ", ".join(sorted(documents)[:5]),
            )
    return sides


def _with_no_side_empty(sides: dict[str, Split], by_place: list[str]) -> dict[str, Split]:
    """A small corpus can leave a side without a document; the train cluster nearest to that side then moves there."""
    wanted: tuple[Split, ...] = ("test", "dev")
    for side in wanted:
        train = [cluster_id for cluster_id in by_place if sides[cluster_id] == "train"]
        if side not in sides.values() and len(train) > 1:
            sides[train[0]] = side
            logger.warning(
                "No document fell to the %s side; %s was moved there and may return as the corpus grows.",
                side,
                train[0],
            )
    return sides


def _chunk_shares(corpus: Corpus, document_clusters: Mapping[str, str]) -> dict[str, float]:
    """Share of all chunks in each cluster of documents."""
    counts = Counter(
        cluster_id
        for chunk in corpus.chunks
        for cluster_id in {document_clusters[document_id] for document_id in chunk.document_ids}
    )
    total = max(len(corpus.chunks), 1)
    return {cluster_id: count / total for cluster_id, count in counts.items()}
