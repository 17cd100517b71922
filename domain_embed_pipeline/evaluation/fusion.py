"""Fusion of a dense and a BM25 ranking, by the formulas of Qdrant, so that what is judged is what is served.

What belongs here: two rankings and a `RetrievalMode` in, one ranking out. What does not: choosing the mode (`modes`),
and the request that makes Qdrant do the same (`qdrant_request`).

Formulas: qdrant/lib/segment/src/common/reciprocal_rank_fusion.rs and score_fusion.rs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.records import Ranking, RetrievalMode

DENSE = RetrievalMode("dense")
SPARSE = RetrievalMode("sparse")


def served_ranking(mode: RetrievalMode, dense: Ranking, sparse: Ranking) -> Ranking:
    """What a query gets in this mode.

    Args:
        mode: Decides which of the rankings counts, or how both are fused.
        dense: Ranking by vectors, at least `mode.prefetch` long where the corpus allows.
        sparse: Ranking by BM25, likewise; it may be shorter.

    Raises:
        EvaluationError: If the mode is not one that Qdrant can serve.
    """
    check_mode(mode)
    if mode.kind == "dense":
        return dense
    if mode.kind == "sparse":
        return sparse
    sources = [_cut(dense, mode.prefetch), _cut(sparse, mode.prefetch)]
    weights = [1.0, mode.sparse_weight]
    if mode.fusion == "rrf":
        return reciprocal_rank_fusion(sources, weights=weights, k=mode.rrf_k)
    return distribution_score_fusion(sources, weights=weights)


def reciprocal_rank_fusion(sources: Sequence[Ranking], *, weights: Sequence[float], k: int) -> Ranking:
    """Sum of 1 / ((position + 1) / weight + k - 1) over the sources, positions from 0 (Cormack et al. 2009, weighted).

    Equal scores keep the order in which the sources, dense first, brought them up: so does Qdrant's embedded mode.
    The server leaves their order open.
    """
    totals: dict[str, float] = {}
    for source, weight in zip(sources, weights, strict=True):
        for position, chunk_id in enumerate(source.chunk_ids):
            part = 1 / ((position + 1) / weight + k - 1) if weight > 0 else 0.0
            totals[chunk_id] = totals.get(chunk_id, 0.0) + part
    return _sorted(totals)


def distribution_score_fusion(sources: Sequence[Ranking], *, weights: Sequence[float]) -> Ranking:
    """Weighted sum of standardised scores, (score - mean + 3 sd) / 6 sd within each source (Qdrant's DBSF).

    A chunk that a source lacks gets 0 from it, which is three deviations below the mean of those it found.
    """
    totals: dict[str, float] = {}
    for source, weight in zip(sources, weights, strict=True):
        for chunk_id, score in zip(source.chunk_ids, _standardised(source.scores), strict=True):
            totals[chunk_id] = totals.get(chunk_id, 0.0) + weight * score
    return _sorted(totals)


def check_mode(mode: RetrievalMode) -> None:
    """Refuse a mode that Qdrant cannot serve.

    Raises:
        EvaluationError: If kind and fusion do not go together, or a number is out of bounds.
    """
    if (mode.kind == "hybrid") != (mode.fusion != "none"):
        raise EvaluationError(
            f"A retrieval mode of kind {mode.kind!r} cannot have the fusion {mode.fusion!r}.",
            fix="Use fusion 'rrf' or 'dbsf' with kind 'hybrid', and 'none' with the others.",
        )
    if mode.kind == "hybrid" and not (mode.sparse_weight > 0 and mode.rrf_k >= 1 and mode.prefetch >= 1):
        raise EvaluationError(
            f"Hybrid retrieval with sparse_weight={mode.sparse_weight}, rrf_k={mode.rrf_k}, "
            f"prefetch={mode.prefetch} is out of bounds.",
            fix="Use a weight above 0, and rrf_k and prefetch of at least 1.",
        )


def _cut(ranking: Ranking, depth: int) -> Ranking:
    return Ranking(ranking.chunk_ids[:depth], ranking.scores[:depth])


def _standardised(scores: Sequence[float]) -> list[float]:
    if len(scores) < 2:
        return [0.5] * len(scores)
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    if deviation == 0:
        return [0.5] * len(scores)
    return [(score - mean + 3 * deviation) / (6 * deviation) for score in scores]


def _sorted(totals: dict[str, float]) -> Ranking:
    pairs = sorted(totals.items(), key=lambda pair: -pair[1])
    return Ranking(tuple(chunk_id for chunk_id, _ in pairs), tuple(score for _, score in pairs))
