"""The arguments of `QdrantClient.query_points` that serve a `RetrievalMode` in one call.

What belongs here: the request that equals `fusion.served_ranking`. What does not: clients, collections, payloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.evaluation.fusion import check_mode
from domain_embed_pipeline.evaluation.records import RetrievalMode

if TYPE_CHECKING:
    from domain_embed_pipeline.encoding.sparse import SparseVector


def query_request(
    mode: RetrievalMode,
    dense: Sequence[float],
    sparse: SparseVector,
    *,
    dense_name: str = "dense",
    sparse_name: str = "bm25",
) -> dict[str, Any]:
    """Arguments `query`, `using` and `prefetch` for one query; the caller adds collection, limit, filter and payload.

    Qdrant gives DBSF no weights, so a weighted one is a formula over two sources, each standardised by a DBSF of its
    own. With several shards that is computed per shard, so its order may differ a little from one shard's.

    Args:
        mode: What was chosen and judged.
        dense: Query vector.
        sparse: Query terms.
        dense_name: Name of the dense vectors in the collection.
        sparse_name: Name of the sparse vectors, which need the IDF modifier.

    Raises:
        EvaluationError: If the mode is not one that Qdrant can serve.
    """
    from qdrant_client import models

    check_mode(mode)
    terms = models.SparseVector(indices=list(sparse.indices), values=list(sparse.values))
    vector = [float(value) for value in dense]
    if mode.kind == "dense":
        return {"query": vector, "using": dense_name}
    if mode.kind == "sparse":
        return {"query": terms, "using": sparse_name}
    sources = [
        models.Prefetch(query=vector, using=dense_name, limit=mode.prefetch),
        models.Prefetch(query=terms, using=sparse_name, limit=mode.prefetch),
    ]
    if mode.fusion == "rrf":
        rrf = models.Rrf(k=mode.rrf_k, weights=[1.0, mode.sparse_weight])
        return {"query": models.RrfQuery(rrf=rrf), "prefetch": sources}
    standardise = models.FusionQuery(fusion=models.Fusion.DBSF)
    if mode.sparse_weight == 1:
        return {"query": standardise, "prefetch": sources}
    weighted = models.MultExpression(mult=[mode.sparse_weight, "$score[1]"])
    formula = models.FormulaQuery(formula=models.SumExpression(sum=["$score[0]", weighted]))
    each = [models.Prefetch(query=standardise, prefetch=[source], limit=mode.prefetch) for source in sources]
    return {"query": formula, "prefetch": each}
