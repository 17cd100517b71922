"""Measures of one ranking against the chunks that are relevant to its query.

What belongs here: pure functions on (relevant set, retrieved list), and the row that holds all of them. What does not:
retrieval, means over queries, intervals.

Every function refuses a query without relevant chunks, because its recall is undefined, and a ranking that names a
chunk twice, because the second copy would be counted again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.records import MRR_K, NDCG_K, RECALL_KS, QueryResult


def recall_at_k(relevant: Set[str], retrieved: Sequence[str], k: int) -> float:
    """Share of the relevant chunks that are among the first `k`: |relevant ∩ first k| / |relevant|.

    Raises:
        EvaluationError: If nothing is relevant, a chunk is retrieved twice or `k` is below 1.
    """
    _check(relevant, retrieved, k)
    return sum(chunk_id in relevant for chunk_id in retrieved[:k]) / len(relevant)


def hit_at_k(relevant: Set[str], retrieved: Sequence[str], k: int) -> float:
    """1 when any relevant chunk is among the first `k`, else 0.

    Raises:
        EvaluationError: As `recall_at_k`.
    """
    _check(relevant, retrieved, k)
    return float(any(chunk_id in relevant for chunk_id in retrieved[:k]))


def mrr_at_k(relevant: Set[str], retrieved: Sequence[str], k: int) -> float:
    """1 / rank of the first relevant chunk, 0 when it is not among the first `k`.

    Raises:
        EvaluationError: As `recall_at_k`.
    """
    _check(relevant, retrieved, k)
    ranks = (rank for rank, chunk_id in enumerate(retrieved[:k], start=1) if chunk_id in relevant)
    first = next(ranks, None)
    return 1 / first if first else 0.0


def ndcg_at_k(relevant: Set[str], retrieved: Sequence[str], k: int) -> float:
    """Discounted gain over the best possible one; gain 1 per relevant chunk, discount log2(rank + 1).

    Raises:
        EvaluationError: As `recall_at_k`.
    """
    _check(relevant, retrieved, k)
    gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(retrieved[:k], start=1) if item in relevant)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), k) + 1))
    return gain / best


def query_result(
    query_id: str, text: str, *, relevant: Set[str], retrieved: Sequence[str], cluster_id: str
) -> QueryResult:
    """All measures of one query.

    Args:
        query_id: Named in the error when the query cannot be measured.
        text: The query.
        relevant: Chunk ids that answer it.
        retrieved: Chunk ids, best first; what lies beyond the largest k is dropped.
        cluster_id: Cluster of the documents that answer it.

    Raises:
        EvaluationError: As `recall_at_k`, naming the query.
    """
    try:
        recalls = {f"recall_at_{k}": recall_at_k(relevant, retrieved, k) for k in RECALL_KS}
        hits = {f"hit_at_{k}": hit_at_k(relevant, retrieved, k) for k in RECALL_KS}
        mrr, ndcg = mrr_at_k(relevant, retrieved, MRR_K), ndcg_at_k(relevant, retrieved, NDCG_K)
    except EvaluationError as error:
        raise EvaluationError(f"Query {query_id!r} ({text[:80]!r}): {error.message}", fix=error.fix) from error
    return QueryResult(
        query_id=query_id,
        text=text,
        retrieved=tuple(retrieved[: max(RECALL_KS)]),
        relevant=tuple(sorted(relevant)),
        **recalls,
        **hits,
        mrr_at_10=mrr,
        ndcg_at_10=ndcg,
        cluster_id=cluster_id,
    )


def _check(relevant: Set[str], retrieved: Sequence[str], k: int) -> None:
    if k < 1:
        raise EvaluationError(f"k is {k}; a ranking has no place below 1.", fix="Ask for k of 1 or more.")
    if not relevant:
        raise EvaluationError(
            "No chunk is relevant, so recall is undefined.",
            fix="Leave the query out, or list it among the lost queries of the evaluation set.",
        )
    if len(set(retrieved)) != len(retrieved):
        seen: set[str] = set()
        twice = next(chunk_id for chunk_id in retrieved if chunk_id in seen or seen.add(chunk_id))
        raise EvaluationError(
            f"Chunk {twice!r} is retrieved more than once.", fix="Give every chunk one id and one vector."
        )
