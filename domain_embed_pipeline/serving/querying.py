"""One query in the mode that the collection was made for.

What belongs here: turning vectors and a mode into one request to Qdrant. What does not: encoders, aliases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.sparse import SparseVector
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.serving.payload import DENSE_VECTOR, SPARSE_VECTOR
from domain_embed_pipeline.serving.store import is_embedded

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter, QueryRequest, ScoredPoint, SearchParams

SearchFilter = Mapping[str, str | Sequence[str]]
"""Payload key to the value, or the values, that it must have."""

OVERSAMPLING = 2.0
"""int8 found 0.944 of the true neighbours alone, all of them with rescoring and twice the candidates."""


def query_request(
    mode: RetrievalMode,
    k: int,
    *,
    dense: np.ndarray | None,
    sparse: SparseVector | None,
    query_filter: Filter | None = None,
    params: SearchParams | None = None,
) -> QueryRequest | None:
    """The request for one query; None when the mode is sparse and the query has no term.

    The fused lists are at least `k` long even where the mode asks for fewer candidates.
    """
    from qdrant_client import models

    common: dict[str, Any] = {"limit": k, "with_payload": True}
    term_weights = _sparse(sparse) if sparse is not None and sparse.indices else None
    if mode.kind == "sparse":
        if term_weights is None:
            return None
        return models.QueryRequest(query=term_weights, using=SPARSE_VECTOR, filter=query_filter, **common)
    if dense is None:
        raise ConfigurationError(f"Mode {mode.kind} needs a query vector.", fix="Encode the query first.")
    vector = dense.tolist()
    if mode.kind == "dense":
        return models.QueryRequest(query=vector, using=DENSE_VECTOR, filter=query_filter, params=params, **common)
    limit = max(mode.prefetch, k)
    sides = [models.Prefetch(query=vector, using=DENSE_VECTOR, limit=limit, filter=query_filter, params=params)]
    if term_weights is not None:
        sides.append(models.Prefetch(query=term_weights, using=SPARSE_VECTOR, limit=limit, filter=query_filter))
    return models.QueryRequest(prefetch=sides, query=_fusion(mode, len(sides)), **common)


def _fusion(mode: RetrievalMode, side_count: int) -> Any:
    from qdrant_client import models

    if mode.fusion == "dbsf":
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    if mode.fusion == "rrf":
        weights = [1.0, mode.sparse_weight][:side_count]
        return models.RrfQuery(rrf=models.Rrf(k=mode.rrf_k, weights=weights))
    raise ConfigurationError(f"Hybrid mode with fusion {mode.fusion!r}.", fix="Use rrf or dbsf.")


def _sparse(vector: SparseVector) -> Any:
    from qdrant_client import models

    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def search_params(client: QdrantClient, *, quantized: bool = False, exact: bool = False) -> SearchParams | None:
    """Rescoring for quantized vectors, or exact search; None for the embedded store, which is exact and would warn."""
    from qdrant_client import models

    if is_embedded(client):
        return None
    if exact:
        return models.SearchParams(exact=True)
    if quantized:
        return models.SearchParams(
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        )
    return None


def filter_of(conditions: SearchFilter | Filter | None) -> Filter | None:
    """Qdrant's filter: every key must have its value, or one of its values; a filter is passed on as it is.

    Raises:
        ConfigurationError: If a value is neither a string nor a list of strings.
    """
    from qdrant_client import models

    if isinstance(conditions, models.Filter):
        return conditions
    if not conditions:
        return None
    must: list[Any] = []
    for key, value in conditions.items():
        if isinstance(value, str):
            match: Any = models.MatchValue(value=value)
        elif isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
            match = models.MatchAny(any=list(value))
        else:
            raise ConfigurationError(
                f"Filter on {key!r} has the value {value!r}.", fix="Use a string, or a list of strings."
            )
        must.append(models.FieldCondition(key=key, match=match))
    return models.Filter(must=must)


def run_queries(
    client: QdrantClient, collection: str, requests: Sequence[QueryRequest | None]
) -> list[list[ScoredPoint]]:
    """Hits of each request, in one call; an absent request has none."""
    asked = [request for request in requests if request is not None]
    answers = iter(client.query_batch_points(collection, requests=asked) if asked else ())
    return [[] if request is None else next(answers).points for request in requests]
