"""One query in the mode that the collection was made for.

What belongs here: turning vectors and a mode into one request to Qdrant. What does not: encoders, aliases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.sparse import SparseVector
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.evaluation.qdrant_request import query_request
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.serving.payload import DENSE_VECTOR, SPARSE_VECTOR
from domain_embed_pipeline.serving.store import is_embedded

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter, Prefetch, QueryRequest, ScoredPoint, SearchParams

SearchFilter = Mapping[str, str | Sequence[str]]
"""Payload key to the value, or the values, that it must have."""

OVERSAMPLING = 2.0
"""int8 found 0.944 of the true neighbours alone, all of them with rescoring and twice the candidates."""


def request_of(
    mode: RetrievalMode,
    k: int,
    *,
    dense: np.ndarray | None,
    sparse: SparseVector | None,
    query_filter: Filter | None = None,
    params: SearchParams | None = None,
) -> QueryRequest | None:
    """The request for one query, the one that offline evaluation stands for; None when nothing can be found.

    A query without a term in sparse mode finds nothing; in hybrid mode fusion would keep the dense order, so it is
    asked densely. The fused lists are at least `k` long even where the mode asks for fewer candidates.
    """
    from qdrant_client import models

    if sparse is None or not sparse.indices:
        if mode.kind == "sparse":
            return None
        mode, sparse = RetrievalMode("dense"), SparseVector((), ())
    arguments = query_request(
        mode, () if dense is None else dense.tolist(), sparse, dense_name=DENSE_VECTOR, sparse_name=SPARSE_VECTOR
    )
    if "prefetch" in arguments:
        arguments["prefetch"] = [_adapted(source, k, params) for source in arguments["prefetch"]]
        params = None
    elif mode.kind == "sparse":
        params = None
    return models.QueryRequest(**arguments, filter=query_filter, params=params, limit=k, with_payload=True)


def _adapted(source: Prefetch, k: int, params: SearchParams | None) -> Prefetch:
    """A source with room for `k`, and with search parameters where it searches dense vectors."""
    changes: dict[str, Any] = {"limit": max(source.limit or 0, k)}
    if isinstance(source.prefetch, list):
        changes["prefetch"] = [_adapted(inner, k, params) for inner in source.prefetch]
    elif source.using == DENSE_VECTOR:
        changes["params"] = params
    return source.model_copy(update=changes)


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
