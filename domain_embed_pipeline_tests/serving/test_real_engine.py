"""The points and requests that we make, on Qdrant's own engine (one shard, in process): HNSW, int8, IDF, fusion.

The embedded store is a Python reimplementation that searches exactly; what it ignores is checked here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.contents import points_of
from domain_embed_pipeline.serving.querying import OVERSAMPLING, request_of
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.scenario import (
    DENSE,
    HYBRID,
    SPARSE,
    WordEncoder,
    chunk_of,
    chunks_of,
    plan_of,
    sparse_spec_of,
    texts_of,
)

edge = pytest.importorskip("qdrant_edge")

pytestmark = pytest.mark.slow

QUERIES = ["how do I clean the pump p20", "replace p17", "where to store the gasket", "weld the hose p79 then paint it"]
DBSF = RetrievalMode("hybrid", fusion="dbsf", sparse_weight=1.0)


def shard_at(folder: Path, dimension: int, *, quantized: bool = False, indexed: bool = False) -> Any:
    folder.mkdir()
    int8 = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99, always_ram=True)
    return edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            quantization_config=int8 if quantized else None,
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1 if indexed else 10_000_000),
        ),
    )


def edge_vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        return edge.SparseVector(indices=vector.indices, values=vector.values)
    return vector


def load(shard: Any, points: list[models.PointStruct]) -> None:
    converted = []
    for point in points:
        assert isinstance(point.vector, dict)
        vectors = {name: edge_vector(vector) for name, vector in point.vector.items()}
        converted.append(edge.Point(id=point.id, vector=vectors, payload=point.payload))
    shard.update(edge.UpdateOperation.upsert_points(converted))


def edge_query(query: Any, using: str | None) -> Any:
    if isinstance(query, models.RrfQuery):
        return edge.Fusion.Rrf(k=query.rrf.k, weights=query.rrf.weights)
    if isinstance(query, models.FusionQuery):
        return edge.Fusion.Dbsf()
    return edge.Query.Nearest(edge_vector(query), using)


def edge_request(request: models.QueryRequest) -> Any:
    prefetches = [
        edge.Prefetch(limit=source.limit, query=edge_query(source.query, source.using))
        for source in (request.prefetch if isinstance(request.prefetch, list) else [])
    ]
    return edge.QueryRequest(
        limit=request.limit,
        query=edge_query(request.query, request.using),
        prefetches=prefetches,
        with_payload=True,
    )


def chunks_without_ties(count: int) -> list[Chunk]:
    """No two of one length, so no two of one BM25 weight: fusion by rank depends on how ties are broken."""
    return [
        chunk_of(" ".join([chunk.text, *(f"w{number}" for number in range(length))]))
        for length, chunk in enumerate(chunks_of(count))
    ]


@pytest.mark.parametrize("mode", [DENSE, SPARSE, HYBRID, DBSF], ids=["dense", "sparse", "rrf", "dbsf"])
def test_the_engine_scores_as_the_embedded_store_does(embedded: Workplace, tmp_path: Path, mode: RetrievalMode) -> None:
    encoder, chunks = WordEncoder(), chunks_without_ties(80)
    plan = plan_of(encoder, chunks, mode=mode)
    sparse = SparseEncoder(sparse_spec_of(chunks))
    built = embedded.build(plan, chunks, encoder)
    shard = shard_at(tmp_path / "shard", encoder.spec.dimension)
    load(shard, points_of(chunks, encoder.encode_passages(texts_of(chunks)), sparse=sparse, frameworks=()))

    for text, dense, terms in zip(
        QUERIES, encoder.encode_queries(QUERIES), sparse.encode_queries(QUERIES), strict=True
    ):
        request = request_of(mode, 10, dense=dense, sparse=terms)
        assert request is not None
        (response,) = embedded.client.query_batch_points(built.collection, [request])
        here = [point.score for point in response.points]
        there = [point.score for point in shard.query(edge_request(request))]
        assert there == pytest.approx(here, abs=1e-3), text


def clustered(count: int, dimension: int) -> np.ndarray:
    generator = np.random.default_rng(3)
    centres = generator.standard_normal((40, dimension))
    vectors = centres[generator.integers(0, 40, count)] + 0.6 * generator.standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall_of(shard: Any, queries: np.ndarray, params: Any) -> float:
    def ids(query: np.ndarray, params: Any) -> set[Any]:
        request = edge.QueryRequest(limit=10, query=edge.Query.Nearest(query.tolist(), "dense"), params=params)
        return {point.id for point in shard.query(request)}

    exact = edge.SearchParams(exact=True, quantization=edge.QuantizationSearchParams(ignore=True))
    shares = [len(ids(query, exact) & ids(query, params)) / 10 for query in queries]
    return sum(shares) / len(shares)


def filled_shard(folder: Path, *, quantized: bool) -> Any:
    chunks, vectors = chunks_of(3_000), clustered(3_000, 64)
    shard = shard_at(folder, 64, quantized=quantized, indexed=True)
    load(shard, points_of(chunks, vectors, sparse=None, frameworks=()))
    shard.optimize()
    assert shard.info().indexed_vectors_count >= 2_000
    return shard


def test_an_hnsw_index_passes_the_bound_that_verification_sets(tmp_path: Path) -> None:
    shard = filled_shard(tmp_path / "shard", quantized=False)
    assert recall_of(shard, clustered(3_050, 64)[3_000:], None) >= 0.95


def test_int8_passes_the_bound_with_the_rescoring_that_queries_ask_for(tmp_path: Path) -> None:
    shard = filled_shard(tmp_path / "shard", quantized=True)
    queries = clustered(3_050, 64)[3_000:]
    plain = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=False))
    ours = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING))
    assert recall_of(shard, queries, ours) >= 0.95
    assert recall_of(shard, queries, ours) > recall_of(shard, queries, plain)
