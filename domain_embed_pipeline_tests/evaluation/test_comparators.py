from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.comparators import (
    Alternative,
    AlternativeKind,
    ComparatorResult,
    Workload,
    alternatives_of,
    break_even_tokens,
    comparator_table,
    query_latency_ms,
    recommend,
)
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, References, compare
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline_tests.evaluation.helpers import evaluation_of, rows_with

WORKLOAD = Workload(
    queries_per_month=1_000_000,
    tokens_per_query=20,
    new_chunks_per_month=100_000,
    tokens_per_chunk=300,
    machine_dollars_per_month=40.0,
)
BASE = evaluation_of(rows_with([1] * 40 + [8] * 60), "base")
GOOD = evaluation_of(rows_with([1] * 65 + [8] * 35), "good")
PASSED = CertificateOutcome("sha256:1", passed=True)
BETTER = compare(GOOD, References(BASE), certificate=PASSED)
NOT_SHOWN = compare(BASE, References(BASE), certificate=PASSED)


def line(name: str, kind: AlternativeKind, recall_at_5: float, **changes: Any) -> ComparatorResult:
    result = ComparatorResult(
        name=name,
        kind=kind,
        recall_at_1=recall_at_5 - 0.02,
        recall_at_5=recall_at_5,
        interval_low=recall_at_5 - 0.05,
        interval_high=recall_at_5 + 0.05,
        recall_at_10=recall_at_5 + 0.02,
        ndcg_at_10=0.4,
        latency_ms=5.0,
        index_bytes_per_million=1e9,
        dollars_per_month=40.0,
        dollars_per_million_tokens=None,
    )
    return dataclasses.replace(result, **changes)


def test_size_and_price_by_hand() -> None:
    alternatives = [
        Alternative("BM25", "bm25", BASE.query_results, 0.5, terms_per_chunk=80),
        Alternative("own", "tuned_hybrid", GOOD.query_results, 9.0, dimension=384, terms_per_chunk=80),
        Alternative("api", "api", BASE.query_results, 120.0, dimension=1536, dollars_per_million_tokens=0.02),
    ]
    table = {result.name: result for result in comparator_table(alternatives, workload=WORKLOAD)}
    assert list(table) == ["own", "BM25", "api"]
    assert table["BM25"].index_bytes_per_million == 80 * 8e6
    assert table["own"].index_bytes_per_million == (384 * 4 + 128 + 80 * 8) * 1e6
    # 20 million query tokens and 30 million chunk tokens a month.
    assert table["api"].dollars_per_month == pytest.approx(50 * 0.02)
    assert (table["BM25"].dollars_per_month, table["own"].dollars_per_month) == (0, 40)
    assert table["own"].recall_at_5 == 0.65
    assert table["own"].interval_low < 0.65 < table["own"].interval_high


def test_an_own_machine_pays_from_the_volume_that_costs_as_much_at_the_api() -> None:
    assert break_even_tokens(WORKLOAD, 0.02) == pytest.approx(2e9)


def test_alternatives_on_other_queries_are_refused() -> None:
    alternatives = [
        Alternative("BM25", "bm25", BASE.query_results, 0.5),
        Alternative("own", "tuned", GOOD.query_results[:50], 9.0),
    ]
    with pytest.raises(EvaluationError, match="'own' was measured on 50 queries that are not the 100 of 'BM25'"):
        comparator_table(alternatives, workload=WORKLOAD)


def test_a_hybrid_model_appears_with_and_without_bm25() -> None:
    hybrid = dataclasses.replace(
        GOOD, mode=RetrievalMode("hybrid", "dbsf", 1.0), served_query_results=BASE.query_results
    )
    dense, fused = alternatives_of(hybrid, tuned=True, latency_ms=3.0, terms_per_chunk=10.0)
    assert (dense.kind, fused.kind) == ("tuned", "tuned_hybrid")
    assert fused.rows == BASE.query_results
    assert [item.kind for item in alternatives_of(BASE, tuned=False, latency_ms=3.0, terms_per_chunk=10.0)] == ["base"]


def test_latency_is_the_median_without_the_first_call() -> None:
    ticks = iter([0.0, 0.001, 1.0, 1.009, 2.0, 2.002])
    asked: list[str] = []
    latency = query_latency_ms(asked.append, ["a", "b", "c"], clock=lambda: next(ticks))
    assert latency == pytest.approx(2.0)
    assert asked == ["a", "a", "b", "c"]


def test_latency_without_a_query_is_refused() -> None:
    with pytest.raises(EvaluationError, match="without a query"):
        query_latency_ms(len, [])


def test_a_better_fine_tuned_model_is_recommended() -> None:
    lines = [line("fine-tuned model", "tuned", 0.65), line("base model", "base", 0.4)]
    advice = recommend(lines, comparison=BETTER, workload=WORKLOAD)
    assert advice == "Fine-tune: the fine-tuned model (Recall@5 0.650) is better than the base model as it is."


@pytest.mark.parametrize(("found_by_base", "said"), [(65, True), (30, False)])
def test_a_gain_of_the_questions_alone_is_called_so(found_by_base: int, said: bool) -> None:
    expanded = RetrievalMode("hybrid", "dbsf", 1.0, expanded=True)
    tuned = dataclasses.replace(GOOD, mode=expanded)
    rows = rows_with([1] * found_by_base + [8] * (100 - found_by_base))
    base = dataclasses.replace(evaluation_of(rows, "base"), mode=expanded)
    comparison = compare(tuned, References(BASE, expanded_base=base), certificate=PASSED)
    advice = recommend([line("fine-tuned model", "tuned", 0.65), line("base model", "base", 0.4)],
                       comparison=comparison, workload=WORKLOAD)  # fmt: skip
    assert ("training was not shown to add to it" in advice) is said


def test_an_unproved_gain_keeps_the_best_without_fine_tuning() -> None:
    lines = [
        line("fine-tuned model", "tuned", 0.65),
        line("base model + BM25", "base_hybrid", 0.64),
        line("base model", "base", 0.6),
    ]
    advice = recommend(lines, comparison=NOT_SHOWN, workload=WORKLOAD)
    assert advice.startswith("Keep the base model + BM25 (Recall@5 0.640): fine-tuning was not shown to be better.")
    assert "more and better questions" in advice


def test_bm25_alone_is_recommended_where_no_model_beats_it() -> None:
    lines = [line("BM25", "bm25", 0.8), line("base model", "base", 0.6)]
    advice = recommend(lines, comparison=NOT_SHOWN, workload=WORKLOAD)
    assert advice.startswith("Use BM25 alone")
    assert "Little is left to gain" in advice


def test_an_api_is_named_only_when_it_is_clearly_better_with_its_break_even() -> None:
    tuned = line("fine-tuned model", "tuned", 0.65)
    api = line("emb-3", "api", 0.72, dollars_per_million_tokens=0.02, dollars_per_month=1.0)
    close = dataclasses.replace(api, recall_at_5=0.68)
    base = line("base model", "base", 0.4)
    advice = recommend([tuned, base, api], comparison=BETTER, workload=WORKLOAD)
    assert "The API emb-3 finds more (Recall@5 0.720) for $1.00 a month at 50M tokens" in advice
    assert "cheaper from 2,000M tokens a month" in advice
    assert "API" not in recommend([tuned, base, close], comparison=BETTER, workload=WORKLOAD)


def test_a_reranker_is_suggested_when_answers_are_found_but_not_first() -> None:
    tuned = line("fine-tuned model", "tuned", 0.65, recall_at_1=0.4, recall_at_10=0.7)
    advice = recommend([tuned, line("base model", "base", 0.4)], comparison=BETTER, workload=WORKLOAD)
    assert "A reranker is worth a try: 70%" in advice


def test_there_is_no_advice_without_an_alternative() -> None:
    with pytest.raises(EvaluationError, match="no alternative"):
        recommend([line("fine-tuned model", "tuned", 0.65)], comparison=BETTER, workload=WORKLOAD)
