"""Near-duplicate clusters of chunks and of documents: MinHash candidates, verified by true shingle Jaccard.

What belongs here: who is a near duplicate of whom. What does not: what follows from it (`splits`, `filters`, mining).
Cost grows linearly with the corpus, also when thousands of texts fill one template: see `ClusterSettings.window`.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain_embed_pipeline.pairs.passages import documents_sharing_runs
from domain_embed_pipeline.pairs.shingles import jaccard, shingle_hashes, word_hashes, words_of
from domain_embed_pipeline.records import Corpus

logger = logging.getLogger(__name__)

_ODD = np.random.default_rng(0).integers(1 << 63, size=64, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What counts as a near duplicate."""

    shingle_words: int = 3
    """Words in a shingle: with 3, one changed word in a chunk of 60 words leaves a Jaccard of about 0.9."""
    threshold: float = 0.7
    """Shingle Jaccard from which two texts are near duplicates; lower joins texts that merely share a template."""
    short_words: int = 30
    """Texts with fewer words need `short_threshold`: "A is a trojan used by X." and "B is a trojan used by X." have a
    Jaccard of 0.7 and are two facts."""
    short_threshold: float = 0.9
    bands: int = 25
    rows: int = 5
    """25 bands of 5 rows find 99 % of the pairs at Jaccard 0.7 and 94 % at 0.6; candidates are verified anyway."""
    window: int = 16
    """Neighbours in one bucket that a text is compared with: bounds the cost when a template fills a bucket."""
    max_documents_per_passage: int = 20
    """A passage in more documents than this is boilerplate and does not join them. Chunks of such a passage are still
    one cluster, so that none of them is trained on while another is asked about."""
    run_words: int = 60
    """Documents that share a run of this many words belong together, wherever their chunks begin; 0 switches it off."""
    seed: int = 1


Words = Mapping[str, np.ndarray]
"""`id -> word hashes in order` (`shingles.word_hashes`)."""


def cluster_near_duplicates(texts: Mapping[str, str], *, settings: ClusterSettings | None = None) -> dict[str, str]:
    """Near-duplicate clusters: `id -> cluster id`, the smallest id of the cluster.

    The result does not depend on the order of `texts`. Method: MinHash with banding (Broder 1997; Leskovec et al.,
    Mining of Massive Datasets, ch. 3); clusters are connected components of the verified pairs.
    """
    return cluster_words({text_id: word_hashes(words_of(text)) for text_id, text in texts.items()}, settings=settings)


def cluster_words(words: Words, *, settings: ClusterSettings | None = None) -> dict[str, str]:
    """`cluster_near_duplicates` for texts whose words are hashed already."""
    settings = settings or ClusterSettings()
    leaders: dict[str, str] = {}
    same_text: dict[bytes, str] = {}
    for text_id in sorted(words):
        key = words[text_id].tobytes()
        # A text without words is a duplicate of nothing.
        leaders[text_id] = same_text.setdefault(key, text_id) if key else text_id
    ids = sorted(same_text.values())
    shingles = [shingle_hashes(words[text_id], settings.shingle_words) for text_id in ids]
    roots = _components(len(ids), _verified_pairs(shingles, settings))
    cluster_of = {text_id: ids[root] for text_id, root in zip(ids, roots, strict=True)}
    return {text_id: cluster_of.get(leader, leader) for text_id, leader in leaders.items()}


def cluster_corpus(corpus: Corpus, *, settings: ClusterSettings | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """Clusters of chunks (by text) and of documents: `chunk_id -> cluster id` and `document_id -> cluster id`.

    Documents must stay on one side of a split together when they share a near-duplicate chunk or a long run of words,
    or when their whole texts are near duplicates.
    """
    settings = settings or ClusterSettings()
    words = {chunk.chunk_id: word_hashes(words_of(chunk.text)) for chunk in corpus.chunks}
    chunk_clusters = cluster_words(words, settings=settings)
    documents = _document_words(corpus, words)
    ids = sorted({document.document_id for document in corpus.documents} | set(documents))
    position = {document_id: index for index, document_id in enumerate(ids)}
    linked = [
        *_shared_passages(corpus, chunk_clusters, settings),
        *cluster_words(documents, settings=settings).items(),
        *documents_sharing_runs(documents, settings.run_words, max_documents=settings.max_documents_per_passage),
    ]
    edges = np.array([(position[left], position[right]) for left, right in linked], dtype=np.int64).reshape(-1, 2)
    clusters = {document_id: ids[root] for document_id, root in zip(ids, _components(len(ids), edges), strict=True)}
    _warn_of_giant_cluster(clusters)
    return chunk_clusters, clusters


def _document_words(corpus: Corpus, words: Words) -> Words:
    """Words of every document that has chunks, chunks in their order."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for chunk in sorted(corpus.chunks, key=lambda chunk: (chunk.position, chunk.chunk_id)):
        for document_id in chunk.document_ids:
            parts[document_id].append(words[chunk.chunk_id])
    return {document_id: np.concatenate(arrays) for document_id, arrays in parts.items()}


def _shared_passages(
    corpus: Corpus, chunk_clusters: Mapping[str, str], settings: ClusterSettings
) -> Iterator[tuple[str, str]]:
    documents_of: dict[str, set[str]] = defaultdict(set)
    for chunk in corpus.chunks:
        documents_of[chunk_clusters[chunk.chunk_id]].update(chunk.document_ids)
    for members in documents_of.values():
        if 1 < len(members) <= settings.max_documents_per_passage:
            first, *others = sorted(members)
            yield from ((first, other) for other in others)


def _warn_of_giant_cluster(clusters: Mapping[str, str]) -> None:
    sizes = Counter(clusters.values())
    if len(clusters) >= 20 and sizes and max(sizes.values()) > len(clusters) / 3:
        cluster_id, size = sizes.most_common(1)[0]
        logger.warning(
            "%d of %d documents are one near-duplicate cluster (%s): they share passages and stay on one side of the "
            "split. If they only share boilerplate, lower max_documents_per_passage.",
            size,
            len(clusters),
            cluster_id,
        )


def _verified_pairs(shingles: Sequence[np.ndarray], settings: ClusterSettings) -> np.ndarray:
    """Index pairs whose true Jaccard reaches the threshold: int64, shape (pairs, 2)."""
    candidates = _candidate_pairs(_signatures(shingles, settings), settings)
    verified = [
        (left, right)
        for left, right in candidates.tolist()
        if _are_near_duplicates(shingles[left], shingles[right], settings)
    ]
    return np.array(verified, dtype=np.int64).reshape(-1, 2)


def _are_near_duplicates(left: np.ndarray, right: np.ndarray, settings: ClusterSettings) -> bool:
    smaller, larger = sorted((left.size, right.size))
    is_short = smaller + settings.shingle_words - 1 < settings.short_words
    threshold = settings.short_threshold if is_short else settings.threshold
    # The ratio of sizes bounds the Jaccard from above and costs nothing.
    return smaller >= threshold * larger and jaccard(left, right) >= threshold


def _signatures(shingles: Sequence[np.ndarray], settings: ClusterSettings) -> np.ndarray:
    """MinHash signatures: uint64, shape (texts, bands * rows)."""
    from datasketch import MinHash

    # Shingles are hashed already. The scheme is named so that a new default of the library changes no cluster.
    sketches = MinHash.generator(
        shingles,
        num_perm=settings.bands * settings.rows,
        seed=settings.seed,
        hashfunc=lambda value: value,
        scheme="affine64",
    )
    signatures = np.empty((len(shingles), settings.bands * settings.rows), dtype=np.uint64)
    for row, sketch in enumerate(sketches):
        signatures[row] = sketch.hashvalues
    return signatures


def _candidate_pairs(signatures: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    """Pairs that agree in all rows of a band: int64, shape (pairs, 2), each once, the smaller index first.

    Banding is done here and not by `datasketch.MinHashLSH` because its queries return whole buckets, which is quadratic
    when a template fills a bucket; sorted bands give each text its next `window` neighbours only.
    """
    count = len(signatures)
    found = [np.empty(0, dtype=np.int64)]
    for band in range(settings.bands):
        rows = signatures[:, band * settings.rows : (band + 1) * settings.rows]
        # One number a band; a chance collision is only a candidate too many.
        keys = (rows * _ODD[: settings.rows]).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        sorted_keys = keys[order]
        for distance in range(1, min(settings.window, count - 1) + 1):
            same = np.flatnonzero(sorted_keys[distance:] == sorted_keys[:-distance])
            if not same.size:
                break
            found.append(order[same] * count + order[same + distance])
    encoded = np.unique(np.concatenate(found))
    return np.stack([encoded // max(count, 1), encoded % max(count, 1)], axis=1)


def _components(count: int, pairs: np.ndarray) -> list[int]:
    """Connected components: the smallest index of its component for each index."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not count:
        return []
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].tolist()
