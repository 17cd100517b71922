from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence, Set

import pytest
import pytrec_eval

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.metrics import hit_at_k, mrr_at_k, ndcg_at_k, query_result, recall_at_k
from domain_embed_pipeline.evaluation.records import METRICS, RECALL_KS

Metric = Callable[[Set[str], Sequence[str], int], float]
ALL_METRICS = (recall_at_k, hit_at_k, mrr_at_k, ndcg_at_k)


def test_one_relevant_chunk_at_rank_two_by_hand() -> None:
    relevant, retrieved = {"b"}, ["a", "b", "c"]
    assert recall_at_k(relevant, retrieved, 1) == 0
    assert recall_at_k(relevant, retrieved, 3) == 1
    assert hit_at_k(relevant, retrieved, 1) == 0
    assert hit_at_k(relevant, retrieved, 2) == 1
    assert mrr_at_k(relevant, retrieved, 10) == 0.5
    assert ndcg_at_k(relevant, retrieved, 10) == pytest.approx(1 / math.log2(3))


def test_several_relevant_chunks_count_by_share_but_hit_counts_once() -> None:
    relevant, retrieved = {"a", "c", "x", "y"}, ["a", "b", "c", "d"]
    assert recall_at_k(relevant, retrieved, 3) == 0.5
    assert hit_at_k(relevant, retrieved, 3) == 1
    assert mrr_at_k(relevant, retrieved, 3) == 1
    ideal = 1 + 1 / math.log2(3) + 0.5
    assert ndcg_at_k(relevant, retrieved, 3) == pytest.approx((1 + 0.5) / ideal)


def test_more_relevant_chunks_than_k_keep_recall_below_one_and_ndcg_at_one() -> None:
    assert recall_at_k({"a", "b", "c"}, ["a", "b", "c"], 1) == pytest.approx(1 / 3)
    assert ndcg_at_k({"a", "b", "c"}, ["a", "b", "c"], 1) == 1


def test_fewer_chunks_than_k_are_scored_as_they_are() -> None:
    assert recall_at_k({"a", "z"}, ["a"], 10) == 0.5
    assert ndcg_at_k({"a"}, ["a"], 10) == 1


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_an_empty_ranking_scores_zero_because_nothing_was_found(metric: Metric) -> None:
    assert metric({"a"}, [], 10) == 0


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_a_query_without_relevant_chunks_is_refused(metric: Metric) -> None:
    with pytest.raises(EvaluationError, match="No chunk is relevant"):
        metric(set(), ["a"], 5)


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_a_chunk_retrieved_twice_is_refused_by_name(metric: Metric) -> None:
    with pytest.raises(EvaluationError, match="'b' is retrieved more than once"):
        metric({"a"}, ["a", "b", "c", "b"], 2)


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_k_below_one_is_refused(metric: Metric) -> None:
    with pytest.raises(EvaluationError, match="k is 0"):
        metric({"a"}, ["a"], 0)


def test_the_row_of_a_query_names_it_when_it_cannot_be_measured() -> None:
    with pytest.raises(EvaluationError, match="'q-1' \\('chest pain'\\)"):
        query_result("q-1", "chest pain", relevant=frozenset(), retrieved=["a"], cluster_id="k")


def test_the_row_of_a_query_keeps_ten_chunks_and_all_metrics() -> None:
    retrieved = [f"c{rank}" for rank in range(100)]
    row = query_result("q-1", "chest pain", relevant={"c4", "c10"}, retrieved=retrieved, cluster_id="k")
    assert row.retrieved == tuple(retrieved[:10])
    assert (row.recall_at_3, row.recall_at_5, row.recall_at_10, row.hit_at_10, row.mrr_at_10) == (0, 0.5, 0.5, 1, 0.2)


def test_metrics_agree_with_trec_eval_to_1e_9_on_random_rankings() -> None:
    generator = random.Random(7)
    chunks = [f"c{number:03d}" for number in range(60)]
    qrels, run, rows = {}, {}, {}
    for number in range(300):
        relevant = set(generator.sample(chunks, generator.randint(1, 14)))
        retrieved = generator.sample(chunks, generator.randint(1, 40))
        query_id = f"q{number}"
        qrels[query_id] = dict.fromkeys(relevant, 1)
        # trec_eval has no cut-off for reciprocal rank, so it is given the first ten only.
        run[query_id] = {chunk_id: 100.0 - rank for rank, chunk_id in enumerate(retrieved[:10])}
        rows[query_id] = query_result(query_id, "", relevant=relevant, retrieved=retrieved, cluster_id="k")
    measures = {"recall.1,3,5,10", "success.1,3,5,10", "recip_rank", "ndcg_cut.10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    names = {"mrr_at_10": "recip_rank", "ndcg_at_10": "ndcg_cut_10"}
    names |= {f"recall_at_{k}": f"recall_{k}" for k in RECALL_KS}
    names |= {f"hit_at_{k}": f"success_{k}" for k in RECALL_KS}
    assert set(names) == set(METRICS)
    for query_id, row in rows.items():
        for ours, name in names.items():
            assert getattr(row, ours) == pytest.approx(theirs[query_id][name], abs=1e-9), (query_id, name)


@pytest.mark.slow  # Importing sentence-transformers takes longer than all other tests of this file.
def test_means_agree_with_the_sentence_transformers_evaluator_to_1e_9() -> None:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    generator = random.Random(8)
    chunks = [f"c{number:03d}" for number in range(60)]
    relevant = {f"q{number}": set(generator.sample(chunks, generator.randint(1, 14))) for number in range(200)}
    retrieved = {query_id: generator.sample(chunks, 40) for query_id in relevant}
    evaluator = InformationRetrievalEvaluator(
        dict.fromkeys(relevant, ""),
        dict.fromkeys(chunks, ""),
        relevant,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=list(RECALL_KS),
        precision_recall_at_k=list(RECALL_KS),
    )
    hits = [
        [{"corpus_id": chunk_id, "score": -float(rank)} for rank, chunk_id in enumerate(retrieved[query_id])]
        for query_id in evaluator.queries_ids
    ]
    theirs = evaluator.compute_metrics(hits)
    rows = [
        query_result(query_id, "", relevant=relevant[query_id], retrieved=retrieved[query_id], cluster_id="k")
        for query_id in relevant
    ]
    expected = {"mrr_at_10": theirs["mrr@k"][10], "ndcg_at_10": theirs["ndcg@k"][10]}
    expected |= {f"recall_at_{k}": theirs["recall@k"][k] for k in RECALL_KS}
    expected |= {f"hit_at_{k}": theirs["accuracy@k"][k] for k in RECALL_KS}
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert sum(getattr(row, name) for row in rows) / len(rows) == pytest.approx(value, abs=1e-9), name
