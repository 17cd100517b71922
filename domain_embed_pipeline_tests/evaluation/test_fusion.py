from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from domain_embed_pipeline.encoding.sparse import SparseEncoder, fit_sparse_spec
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.fusion import (
    DENSE,
    SPARSE,
    distribution_score_fusion,
    reciprocal_rank_fusion,
    served_ranking,
)
from domain_embed_pipeline.evaluation.qdrant_request import query_request
from domain_embed_pipeline.evaluation.records import Ranking, RetrievalMode
from domain_embed_pipeline.evaluation.retrieval import search, search_sparse
from domain_embed_pipeline.ids import point_id_of

MODES = [
    DENSE,
    SPARSE,
    RetrievalMode("hybrid", "rrf", 1.0, 2),
    RetrievalMode("hybrid", "rrf", 0.51, 2, prefetch=20),
    RetrievalMode("hybrid", "rrf", 1.7, 60),
    RetrievalMode("hybrid", "dbsf", 1.0),
    RetrievalMode("hybrid", "dbsf", 0.4, prefetch=30),
]


def test_weighted_rrf_by_hand() -> None:
    dense = Ranking(("a", "b"), (0.9, 0.8))
    sparse = Ranking(("b", "c"), (9.0, 1.0))
    fused = reciprocal_rank_fusion([dense, sparse], weights=[1, 0.5], k=2)
    assert fused.chunk_ids == ("b", "a", "c")
    assert fused.scores == pytest.approx((1 / 3 + 1 / (1 / 0.5 + 1), 1 / 2, 1 / (2 / 0.5 + 1)))


def test_equal_rrf_scores_keep_the_dense_chunk_first() -> None:
    fused = reciprocal_rank_fusion([Ranking(("z",), (0.1,)), Ranking(("a",), (9.0,))], weights=[1, 1], k=2)
    assert fused.chunk_ids == ("z", "a")


def test_standardised_scores_by_hand() -> None:
    dense = Ranking(("a", "b", "c"), (3.0, 2.0, 1.0))  # mean 2, deviation 1
    sparse = Ranking(("d",), (7.0,))  # one result alone counts 0.5
    fused = distribution_score_fusion([dense, sparse], weights=[1, 1])
    assert dict(zip(fused.chunk_ids, fused.scores, strict=True)) == pytest.approx(
        {"a": 4 / 6, "b": 0.5, "c": 2 / 6, "d": 0.5}
    )


def test_equal_scores_within_a_source_count_one_half() -> None:
    fused = distribution_score_fusion([Ranking(("a", "b"), (2.0, 2.0))], weights=[1])
    assert fused.scores == (0.5, 0.5)


@pytest.mark.parametrize(
    "mode",
    [
        RetrievalMode("dense", "rrf", 1.0),
        RetrievalMode("hybrid"),
        RetrievalMode("hybrid", "rrf", 0.0),
        RetrievalMode("hybrid", "rrf", 1.0, rrf_k=0),
        RetrievalMode("hybrid", "dbsf", 1.0, prefetch=0),
    ],
)
def test_a_mode_that_cannot_be_served_is_refused(mode: RetrievalMode) -> None:
    with pytest.raises(EvaluationError):
        served_ranking(mode, Ranking((), ()), Ranking((), ()))


@pytest.fixture(scope="module")
def corpus_in_qdrant() -> Iterator[tuple[QdrantClient, list[Any]]]:
    """150 chunks with random unit vectors and BM25 terms, in a store and as offline rankings."""
    generator = np.random.default_rng(4)
    words = [f"word{number}" for number in range(60)]
    # Every chunk has a length of its own, so no two have equal BM25 scores, whose order Qdrant leaves open.
    texts = [" ".join(generator.choice(words, size=10 + row)) for row in range(150)]
    queries = [" ".join(generator.choice(words, size=3)) for _ in range(25)]
    passages = generator.normal(size=(len(texts), 16)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    query_vectors = generator.normal(size=(len(queries), 16)).astype(np.float32)
    query_vectors /= np.linalg.norm(query_vectors, axis=1, keepdims=True)
    encoder = SparseEncoder(fit_sparse_spec(texts))
    terms, query_terms = encoder.encode_passages(texts), encoder.encode_queries(queries)
    chunk_ids = [f"c{row:03d}" for row in range(len(texts))]
    client = QdrantClient(":memory:")
    client.create_collection(
        "chunks",
        vectors_config={"dense": models.VectorParams(size=16, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    points = []
    for chunk_id, dense, sparse in zip(chunk_ids, passages, terms, strict=True):
        vector = {
            "dense": dense.tolist(),
            "bm25": models.SparseVector(indices=list(sparse.indices), values=list(sparse.values)),
        }
        points.append(models.PointStruct(id=point_id_of(chunk_id), vector=vector, payload={"chunk_id": chunk_id}))
    client.upsert("chunks", points)
    dense_rankings = search(query_vectors, passages, chunk_ids, 100)
    sparse_rankings = search_sparse(query_terms, terms, chunk_ids, 100)
    yield client, list(zip(query_vectors, query_terms, dense_rankings, sparse_rankings, strict=True))
    client.close()


@pytest.mark.parametrize("mode", MODES, ids=repr)
def test_offline_rankings_are_those_that_qdrant_serves(
    mode: RetrievalMode, corpus_in_qdrant: tuple[QdrantClient, list[Any]]
) -> None:
    client, queries = corpus_in_qdrant
    for vector, terms, dense, sparse in queries:
        offline = served_ranking(mode, dense, sparse)
        points = client.query_points("chunks", limit=10, **query_request(mode, vector, terms)).points
        served = [(point.payload or {})["chunk_id"] for point in points]
        scores = dict(zip(offline.chunk_ids, offline.scores, strict=True))
        assert [point.score for point in points] == pytest.approx(offline.scores[:10], rel=1e-4)
        for place, chunk_id in enumerate(served):
            # Another chunk in this place is right only when both have the same score.
            assert scores[chunk_id] == pytest.approx(offline.scores[place], rel=1e-5)
