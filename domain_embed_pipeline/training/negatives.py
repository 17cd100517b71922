"""Hard negatives: chunks that the stage-one model ranks near an anchor although they do not answer it.

Mining searches the whole corpus exactly. Guards: every known positive of the anchor, its near-duplicate cluster and its
text under other titles are excluded, then a rank window, then a margin relative to the positive's score (NV-Retriever,
arXiv 2407.15831).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain_embed_pipeline.encoding.expansion import encode_chunks
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.records import Ranking
from domain_embed_pipeline.evaluation.retrieval import search
from domain_embed_pipeline.ids import normalise_text, version_of
from domain_embed_pipeline.records import Corpus, HardNegative, TrainingPair
from domain_embed_pipeline.training.settings import MiningSettings

MINED_SOURCES = ("question", "user")
"""Sources whose anchors stand for queries; structural pairs are not mined for."""

_LARGEST_SURPLUS = 500
"""Chunks looked at beyond the window, at most: a cluster that is larger leaves its anchors fewer candidates."""


@dataclass(frozen=True, slots=True)
class GuardCount:
    """How many candidates one guard excluded."""

    guard: str
    count: int


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """What was mined, and how hard it is."""

    negatives_version: str
    model_version: str
    negatives: tuple[HardNegative, ...]
    excluded: tuple[GuardCount, ...]
    anchor_count: int
    anchors_without_negative: int
    positive_score_median: float
    negative_score_median: float
    negative_score_p95: float


def mine_hard_negatives(
    encoder: Encoder,
    corpus: Corpus,
    pairs: Sequence[TrainingPair],
    *,
    clusters: Mapping[str, str],
    settings: MiningSettings,
) -> HardNegatives:
    """Mine negatives for each question and user pair over the whole corpus.

    Args:
        encoder: The stage-one model; vectors are cached under its own fingerprint.
        corpus: All chunks.
        pairs: Training pairs; structural ones are passed over.
        clusters: Near-duplicate cluster of each chunk.
        settings: Window, margin and number.
    """
    mined = [pair for pair in pairs if pair.source in MINED_SOURCES]
    guards = _Guards(corpus, pairs, clusters, settings)
    chunk_ids = [chunk.chunk_id for chunk in corpus.chunks]
    passages = encode_chunks(encoder, corpus.chunks)
    anchors = encoder.encode_queries([pair.anchor for pair in mined])
    positives = encoder.encode_passages([pair.positive for pair in mined])
    scores = (anchors * positives).sum(axis=1).tolist()
    rankings = search(anchors, passages, chunk_ids, guards.depth_for(mined)) if mined else []
    rows: list[HardNegative] = []
    for pair, ranking, score in zip(mined, rankings, scores, strict=True):
        # Seeded by the pair, so that a new document does not change the draw for all others.
        generator = random.Random(f"{settings.seed}/{pair.pair_id}")
        chosen = _choose(guards.eligible(pair, ranking, score), settings, generator)
        rows.extend(guards.row(pair, score, candidate) for candidate in chosen)
    return _summary(rows, guards, model_version=encoder.spec.model_version, scores=scores)


@dataclass(frozen=True, slots=True)
class _Candidate:
    chunk_id: str
    rank: int
    score: float


class _Guards:
    """Decides which neighbours of an anchor may be negatives, and counts what each guard excluded."""

    def __init__(
        self, corpus: Corpus, pairs: Sequence[TrainingPair], clusters: Mapping[str, str], settings: MiningSettings
    ) -> None:
        self._chunks = {chunk.chunk_id: chunk for chunk in corpus.chunks}
        self._clusters = clusters
        self._settings = settings
        self._positives: dict[str, set[str]] = {}
        for pair in pairs:
            self._positives.setdefault(_anchor_key(pair.anchor), set()).add(pair.chunk_id)
        self._cluster_sizes = Counter(self._cluster(chunk_id) for chunk_id in self._chunks)
        self.counts: dict[str, int] = {"known positive": 0, "same document": 0, "rank window": 0, "margin": 0}

    def depth_for(self, pairs: Sequence[TrainingPair]) -> int:
        """How deep to search: the window, and room for what is excluded before ranks are counted."""
        positives = (self._positives[_anchor_key(pair.anchor)] for pair in pairs)
        surplus = (sum(self._cluster_sizes[cluster] for cluster in self._clusters_of(found)) for found in positives)
        return self._settings.last_rank + min(_LARGEST_SURPLUS, max(surplus, default=0))

    def eligible(self, pair: TrainingPair, ranking: Ranking, positive_score: float) -> list[_Candidate]:
        """Candidates in the window, best first; ranks are counted without the anchor's own positives."""
        positives = self._positives[_anchor_key(pair.anchor)]
        clusters = self._clusters_of(positives)
        texts = {normalise_text(self._chunks[chunk_id].text) for chunk_id in positives if chunk_id in self._chunks}
        documents = {name for chunk_id in positives for name in self._documents(chunk_id)}
        ceiling = positive_score - abs(positive_score) * self._settings.relative_margin
        found: list[_Candidate] = []
        rank = 0
        for chunk_id, score in zip(ranking.chunk_ids, ranking.scores, strict=True):
            if self._cluster(chunk_id) in clusters or normalise_text(self._chunks[chunk_id].text) in texts:
                self.counts["known positive"] += 1
                continue
            rank += 1
            if reason := self._reason(chunk_id, rank, score > ceiling, documents):
                self.counts[reason] += 1
            else:
                found.append(_Candidate(chunk_id, rank, score))
        return found

    def row(self, pair: TrainingPair, positive_score: float, candidate: _Candidate) -> HardNegative:
        """The mined row."""
        return HardNegative(
            anchor=pair.anchor,
            positive=pair.positive,
            negative=self._chunks[candidate.chunk_id].embedding_text,
            chunk_id=pair.chunk_id,
            negative_chunk_id=candidate.chunk_id,
            rank=candidate.rank,
            positive_score=positive_score,
            negative_score=candidate.score,
        )

    def _reason(self, chunk_id: str, rank: int, over_ceiling: bool, documents: set[str]) -> str | None:
        if not self._settings.first_rank <= rank <= self._settings.last_rank:
            return "rank window"
        if self._settings.exclude_same_document and documents.intersection(self._documents(chunk_id)):
            return "same document"
        return "margin" if over_ceiling else None

    def _clusters_of(self, chunk_ids: set[str]) -> set[str]:
        return {self._cluster(chunk_id) for chunk_id in chunk_ids}

    def _cluster(self, chunk_id: str) -> str:
        return self._clusters.get(chunk_id, chunk_id)

    def _documents(self, chunk_id: str) -> tuple[str, ...]:
        chunk = self._chunks.get(chunk_id)
        return chunk.document_ids if chunk is not None else ()


def _anchor_key(anchor: str) -> str:
    return normalise_text(anchor).casefold()


def _choose(
    candidates: Sequence[_Candidate], settings: MiningSettings, generator: random.Random
) -> Sequence[_Candidate]:
    """`negatives_per_pair` of the candidates, or none when there are too few for a full row."""
    if len(candidates) < settings.negatives_per_pair:
        return ()
    if settings.sampling == "top":
        return candidates[: settings.negatives_per_pair]
    return generator.sample(list(candidates), settings.negatives_per_pair)


def _summary(
    rows: Sequence[HardNegative], guards: _Guards, *, model_version: str, scores: Sequence[float]
) -> HardNegatives:
    import numpy as np

    negative_scores = [row.negative_score for row in rows] or [0.0]
    return HardNegatives(
        negatives_version=version_of(
            "negatives", (f"{row.anchor}\n{row.chunk_id}\n{row.negative_chunk_id}" for row in rows)
        ),
        model_version=model_version,
        negatives=tuple(rows),
        excluded=tuple(GuardCount(guard, count) for guard, count in guards.counts.items()),
        anchor_count=len(scores),
        anchors_without_negative=len(scores) - len({(row.anchor, row.chunk_id) for row in rows}),
        positive_score_median=float(np.median(scores)) if scores else 0.0,
        negative_score_median=float(np.median(negative_scores)),
        negative_score_p95=float(np.quantile(negative_scores, 0.95)),
    )
