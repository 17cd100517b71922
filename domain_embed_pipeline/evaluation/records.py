"""Results of evaluation: per-query rows, an evaluation, a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.encoding.sparse import SparseSpec
from domain_embed_pipeline.encoding.spec import EncoderSpec

Verdict = Literal["better", "not_shown", "worse"]
AlternativeKind = Literal["bm25", "base", "base_hybrid", "tuned", "tuned_hybrid", "reranker", "api", "other"]
RECALL_KS = (1, 3, 5, 10)
MRR_K = 10
NDCG_K = 10
MEASURES_VERSION = "measures-1"
"""Moves when the same ranking would give other figures."""
METRICS = (*(f"recall_at_{k}" for k in RECALL_KS), *(f"hit_at_{k}" for k in RECALL_KS), "mrr_at_10", "ndcg_at_10")
"""Field names of `QueryResult` that hold a measure; metadata keys are the same."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one search found for one query."""

    chunk_ids: tuple[str, ...]
    """Best first."""
    scores: tuple[float, ...]
    """Falling; equal scores are in the order of chunk ids."""


@dataclass(frozen=True, slots=True)
class RetrievalMode:
    """How the index is asked: dense vectors, BM25, or both fused. Chosen on dev, stored with the collection."""

    kind: Literal["dense", "sparse", "hybrid"]
    fusion: Literal["none", "rrf", "dbsf"] = "none"
    """`rrf`: weighted reciprocal rank fusion; `dbsf`: sum of per-query standardised scores, as Qdrant computes it."""
    sparse_weight: float = 0.0
    """Weight of BM25 in either fusion; the dense weight is 1. Plain DBSF has 1."""
    rrf_k: int = 2
    prefetch: int = 100
    """Candidates taken from each side before fusion."""
    expanded: bool = False
    """Whether a chunk is found by the questions that it answers too, in its vector and in its BM25 terms."""


@dataclass(frozen=True, slots=True)
class ModeScore:
    """How a retrieval mode did on dev, where the mode is chosen."""

    kind: str
    fusion: str
    sparse_weight: float
    rrf_k: int
    primary: float
    """Mean of the primary metric over the dev queries."""
    ndcg_at_10: float
    chosen: bool
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Metrics and top chunks of one query in one evaluation."""

    query_id: str
    text: str
    retrieved: tuple[str, ...]
    """Chunk ids, best first, at most the largest k."""
    relevant: tuple[str, ...]
    recall_at_1: float
    recall_at_3: float
    recall_at_5: float
    recall_at_10: float
    hit_at_1: float
    hit_at_3: float
    hit_at_5: float
    hit_at_10: float
    mrr_at_10: float
    ndcg_at_10: float
    cluster_id: str
    """Cluster of the documents that answer it; queries of one cluster are resampled together."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model in one retrieval mode on one split of one evaluation set over one corpus version."""

    model_version: str
    encoder: EncoderSpec
    corpus_version: str
    evaluation_set_version: str
    split: str
    mode: RetrievalMode
    query_results: tuple[QueryResult, ...]
    served_query_results: tuple[QueryResult, ...]
    """The same queries in `mode`; `query_results` is always dense only, the headline."""
    duration_s: float
    sparse: SparseSpec | None = None
    """How BM25 saw the texts; None when it was not asked."""
    mode_scores: tuple[ModeScore, ...] = ()
    """Every mode that was tried on dev; empty when the mode was given."""
    recall_ks: tuple[int, ...] = RECALL_KS
    measures_version: str = MEASURES_VERSION


@dataclass(frozen=True, slots=True)
class MetricMean:
    """Mean of one metric over the queries, with its interval."""

    metric: str
    mean: float
    interval_low: float
    interval_high: float


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """Paired difference of one metric, candidate minus reference."""

    metric: str
    reference: float
    candidate: float
    difference: float
    interval_low: float
    interval_high: float
    p_value: float
    minimum_detectable_effect: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class SliceResult:
    """The primary metric on one part of the queries, served candidate against served base."""

    group: str
    """By what the queries are divided: `folder`, `style`, `overlap`, ..."""
    name: str
    query_count: int
    reference: float
    candidate: float
    difference: float
    interval_low: float
    interval_high: float
    p_value: float
    """Holm-adjusted over all slices of the comparison."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class GuardResult:
    """General ability on one guard set, by vectors alone, candidate against base."""

    name: str
    metric: str
    query_count: int
    reference: float
    candidate: float
    difference: float
    interval_low: float
    interval_high: float
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """The candidate against one reference (the base model, or what is live now)."""

    reference: Literal["base", "expanded_base", "serving"]
    reference_model_version: str
    reference_mode: RetrievalMode
    verdict: Verdict
    reason: str
    differences: tuple[MetricDifference, ...]


@dataclass(frozen=True, slots=True)
class ComparatorResult:
    """A line of the table."""

    name: str
    kind: AlternativeKind
    recall_at_1: float
    recall_at_5: float
    interval_low: float
    """Of Recall@5."""
    interval_high: float
    recall_at_10: float
    ndcg_at_10: float
    latency_ms: float
    index_bytes_per_million: float
    """Vectors and graph of a million chunks, before quantisation."""
    dollars_per_month: float
    dollars_per_million_tokens: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the alias is swapped on."""

    candidate_model_version: str
    candidate_mode: RetrievalMode
    corpus_version: str
    evaluation_set_version: str
    primary_metric: str
    verdict: Verdict
    reason: str
    against_base: ReferenceComparison
    against_serving: ReferenceComparison | None
    dense_against_base: ReferenceComparison
    """Dense only, candidate against base: the headline Recall@k."""
    certificate_digest: str
    """Digest of the leakage certificate that the comparison rests on."""
    certificate_passed: bool
    query_count: int
    against_expanded_base: ReferenceComparison | None = None
    """The candidate against the base model over expanded chunks; None when the candidate's are not expanded."""
    cluster_count: int = 0
    slices: tuple[SliceResult, ...] = ()
    general_ability: tuple[GuardResult, ...] = ()
    """What became of texts from other domains; it is shown and does not decide."""
    comparators: tuple[ComparatorResult, ...] = ()
    """What else could be served, best first."""
    recommendation: str = ""


def means(rows: Sequence[QueryResult], metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Mean of each metric over at least one query."""
    return {metric: sum(getattr(row, metric) for row in rows) / len(rows) for metric in metrics}
