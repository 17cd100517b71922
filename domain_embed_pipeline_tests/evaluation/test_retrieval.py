from __future__ import annotations

import numpy as np
import pytest

from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseVector, fit_sparse_spec
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.retrieval import search, search_sparse


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_search_equals_sorting_all_inner_products() -> None:
    generator = np.random.default_rng(1)
    queries, passages = unit(generator.normal(size=(300, 24))), unit(generator.normal(size=(500, 24)))
    chunk_ids = [f"c{row:03d}" for row in range(500)]
    scores = passages.astype(np.float64) @ queries.astype(np.float64).T
    rankings = search(queries, passages, chunk_ids, 7)
    for column, ranking in enumerate(rankings):
        best = np.argsort(-scores[:, column])[:7]
        assert ranking.chunk_ids == tuple(chunk_ids[row] for row in best)
        assert ranking.scores == pytest.approx(scores[best, column], abs=1e-6)


def test_equal_scores_come_in_the_order_of_chunk_ids_even_across_the_cut() -> None:
    passages = np.zeros((200, 4), dtype=np.float32)
    passages[:, 0] = 1
    chunk_ids = [f"c{(row * 37) % 200:03d}" for row in range(200)]
    (ranking,) = search(np.array([[1, 0, 0, 0]], dtype=np.float32), passages, chunk_ids, 3)
    assert ranking.chunk_ids == ("c000", "c001", "c002")


def test_rankings_do_not_depend_on_how_many_queries_are_searched_at_once() -> None:
    generator = np.random.default_rng(2)
    queries = unit(generator.normal(size=(60, 384)))
    passages = unit(np.repeat(generator.normal(size=(40, 384)), 5, axis=0) + 1e-8)
    chunk_ids = [f"c{row:03d}" for row in range(200)][::-1]
    together = search(queries, passages, chunk_ids, 12)
    one_by_one = [search(queries[row : row + 1], passages, chunk_ids, 12)[0] for row in range(60)]
    assert together == one_by_one


def test_k_is_capped_by_the_corpus() -> None:
    (ranking,) = search(np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32), ["a", "b"], 10)
    assert ranking.chunk_ids == ("a", "b")


def test_no_query_gives_no_ranking() -> None:
    assert search(np.zeros((0, 2), dtype=np.float32), np.eye(2, dtype=np.float32), ["a", "b"], 1) == []


@pytest.mark.parametrize(
    ("queries", "passages", "chunk_ids", "k", "message"),
    [
        (np.eye(3), np.eye(2), ["a", "b"], 1, "3 dimensions, passage vectors 2"),
        (np.eye(2), np.eye(2), ["a"], 1, "1 chunk ids stand against 2"),
        (np.eye(2), np.eye(2), ["a", "a"], 1, "'a' is given twice"),
        (np.eye(2), np.array([[1, 0], [np.nan, 1]]), ["a", "b"], 1, "1 of 2 passage vectors .* first in row 1"),
        (np.eye(2), np.eye(2), ["a", "b"], 0, "k is 0"),
        (np.eye(2)[0], np.eye(2), ["a", "b"], 1, "shape \\(2,\\)"),
        (np.eye(2), np.zeros((0, 2)), [], 1, "no passage to search"),
    ],
)
def test_input_that_cannot_be_searched_is_refused(
    queries: np.ndarray, passages: np.ndarray, chunk_ids: list[str], k: int, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        search(queries, passages, chunk_ids, k)


def test_sparse_search_leaves_out_chunks_that_share_no_term() -> None:
    texts = ["atrial fibrillation", "heart failure", "kidney failure"]
    encoder = SparseEncoder(fit_sparse_spec(texts))
    passages = encoder.encode_passages(texts)
    found = search_sparse(encoder.encode_queries(["failure of the heart", "lung"]), passages, ["a", "b", "c"], 10)
    assert [ranking.chunk_ids for ranking in found] == [("b", "c"), ()]


def test_sparse_search_by_hand() -> None:
    passages = [SparseVector((1, 2), (1.5, 0.5)), SparseVector((2,), (1.0,)), SparseVector((), ())]
    queries = [SparseVector((1, 2, 9), (1.0, 1.0, 1.0))]
    (ranking,) = search_sparse(queries, passages, ["a", "b", "c"], 10)
    rare, common = np.log(1 + 2.5 / 1.5), np.log(1 + 1.5 / 2.5)
    assert ranking.chunk_ids == ("a", "b")
    assert ranking.scores == pytest.approx((1.5 * rare + 0.5 * common, common), abs=1e-6)


def test_sparse_search_over_a_corpus_without_terms_finds_nothing() -> None:
    (ranking,) = search_sparse([SparseVector((1,), (1.0,))], [SparseVector((), ())], ["a"], 5)
    assert ranking.chunk_ids == ()
