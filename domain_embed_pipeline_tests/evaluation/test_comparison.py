from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.errors import IncomparableError
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, ComparisonSettings, References, compare
from domain_embed_pipeline.evaluation.records import Comparison, RetrievalMode
from domain_embed_pipeline.evaluation.slices import Slice
from domain_embed_pipeline.evaluation.words import headline
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.evaluation.helpers import evaluation_of, ranked_row, rows_with

PASSED = CertificateOutcome("sha256:1", passed=True)
HYBRID = RetrievalMode("hybrid", "dbsf", 1.0)
BASE = evaluation_of(rows_with([1] * 40 + [8] * 60), "base")
GOOD = evaluation_of(rows_with([1] * 70 + [8] * 30), "good")
BAD = evaluation_of(rows_with([1] * 20 + [8] * 80), "bad")


def test_a_clear_gain_is_better() -> None:
    comparison = compare(GOOD, References(BASE), certificate=PASSED)
    assert comparison.verdict == "better"
    assert "Recall@5 0.400 → 0.700 (+0.300" in comparison.reason
    assert "30 queries better, 0 worse" in comparison.reason


def test_a_clear_loss_is_worse() -> None:
    assert compare(BAD, References(BASE), certificate=PASSED).verdict == "worse"


def test_an_identical_copy_is_not_shown_to_be_better() -> None:
    comparison = compare(evaluation_of(BASE.query_results, "copy"), References(BASE), certificate=PASSED)
    assert comparison.verdict == "not_shown"
    assert "No query changed." in comparison.reason


def test_a_gain_within_noise_is_not_shown_and_says_what_would_be_seen() -> None:
    comparison = compare(
        evaluation_of(rows_with([1] * 42 + [8] * 58), "slightly better"), References(BASE), certificate=PASSED
    )
    assert comparison.verdict == "not_shown"
    assert "in four of five trials" in comparison.reason


def test_better_than_the_base_but_not_than_what_is_live_is_not_shown() -> None:
    comparison = compare(GOOD, References(BASE, serving=GOOD), certificate=PASSED)
    assert comparison.against_base.verdict == "better"
    assert comparison.against_serving is not None
    assert comparison.against_serving.verdict == "not_shown"
    assert comparison.verdict == "not_shown"
    assert "Against what is live" in comparison.reason


def test_worse_than_what_is_live_is_worse_even_if_better_than_the_base() -> None:
    live = evaluation_of(rows_with([1] * 95 + [8] * 5), "live")
    assert compare(GOOD, References(BASE, serving=live), certificate=PASSED).verdict == "worse"


def test_the_verdict_is_about_what_is_served_and_says_when_bm25_absorbs_the_gain() -> None:
    served = rows_with([1] * 80 + [8] * 20)
    base = dataclasses.replace(BASE, served_query_results=served, mode=HYBRID)
    candidate = dataclasses.replace(GOOD, served_query_results=served, mode=HYBRID)
    comparison = compare(candidate, References(base), certificate=PASSED)
    assert comparison.dense_against_base.verdict == "better"
    assert comparison.verdict == "not_shown"
    assert "BM25 beside it absorbs the gain" in comparison.reason


def test_a_significant_fall_of_ndcg_stops_a_better_recall() -> None:
    # 20 more answers in the first five, but those that were first are now fifth.
    candidate = evaluation_of(rows_with([5] * 60 + [8] * 40), "shuffled")
    comparison = compare(candidate, References(BASE), certificate=PASSED)
    assert comparison.verdict == "not_shown"
    assert "nDCG@10" in comparison.reason


def test_fewer_than_thirty_queries_are_never_better_and_it_says_so() -> None:
    comparison = compare(
        evaluation_of(rows_with([1] * 29), "good"),
        References(evaluation_of(rows_with([8] * 29), "base")),
        certificate=PASSED,
    )
    assert comparison.verdict == "not_shown"
    assert "29 queries" in comparison.reason


def test_few_queries_can_still_be_worse() -> None:
    comparison = compare(
        evaluation_of(rows_with([8] * 29), "bad"),
        References(evaluation_of(rows_with([1] * 29), "base")),
        certificate=PASSED,
    )
    assert comparison.verdict == "worse"


def test_many_queries_about_a_handful_of_documents_are_too_few() -> None:
    clusters = [f"k{place % 6}" for place in range(200)]
    comparison = compare(
        evaluation_of(rows_with([1] * 200, clusters), "good"),
        References(evaluation_of(rows_with([8] * 200, clusters), "base")),
        certificate=PASSED,
    )
    assert comparison.verdict == "not_shown"


def test_without_a_passed_certificate_nothing_is_better() -> None:
    comparison = compare(GOOD, References(BASE), certificate=CertificateOutcome("sha256:1", passed=False))
    assert comparison.verdict == "not_shown"
    assert "leakage certificate did not pass" in comparison.reason


def test_every_mismatch_is_listed_when_evaluations_cannot_be_compared() -> None:
    other = dataclasses.replace(BASE, corpus_version="corpus-2", evaluation_set_version="evaluation_set-9", split="dev")
    with pytest.raises(IncomparableError) as caught:
        compare(GOOD, References(other), certificate=PASSED)
    other = dataclasses.replace(other, recall_ks=(1, 5), measures_version="measures-0")
    with pytest.raises(IncomparableError, match=r"recall_ks: .*; measures_version: measures-1 against measures-0"):
        compare(GOOD, References(other), certificate=PASSED)
    for expected in ("corpus-1 against corpus-2", "evaluation_set-9", "test against dev"):
        assert expected in str(caught.value)


def test_other_queries_another_order_or_another_relevance_are_refused() -> None:
    rows = BASE.query_results
    with pytest.raises(IncomparableError, match="1 queries only here, 0 only there, such as \\['q0099'\\]"):
        compare(GOOD, References(evaluation_of(rows[:-1], "base")), certificate=PASSED)
    with pytest.raises(IncomparableError, match="another order"):
        compare(GOOD, References(evaluation_of(rows[::-1], "base")), certificate=PASSED)
    changed = dataclasses.replace(rows[0], relevant=("other",))
    with pytest.raises(IncomparableError, match="another relevant for 1 queries"):
        compare(GOOD, References(evaluation_of((changed, *rows[1:]), "base")), certificate=PASSED)
    reworded = dataclasses.replace(rows[0], text="another query")
    with pytest.raises(IncomparableError, match="another text for 1 queries"):
        compare(GOOD, References(evaluation_of((reworded, *rows[1:]), "base")), certificate=PASSED)
    regrouped = ranked_row("q0000", 1, cluster_id="elsewhere")
    with pytest.raises(IncomparableError, match="another cluster_id for 1 queries"):
        compare(GOOD, References(evaluation_of((regrouped, *rows[1:]), "base")), certificate=PASSED)


def test_a_significantly_worse_slice_is_named_and_stops_the_verdict_better() -> None:
    base = evaluation_of(rows_with([8] * 100 + [1] * 20 + [8] * 80), "base")
    candidate = evaluation_of(rows_with([1] * 100 + [8] * 20 + [8] * 80), "good")
    lost = Slice("style", "keywords", frozenset(f"q{place:04d}" for place in range(100, 120)))
    kept = Slice("style", "questions", frozenset(f"q{place:04d}" for place in range(100)))
    comparison = compare(candidate, References(base), certificate=PASSED, slices=[lost, kept])
    assert comparison.verdict == "not_shown"
    assert "Significantly worse on: style keywords (-1.000)" in comparison.reason
    assert [result.verdict for result in comparison.slices] == ["worse", "better"]
    unguarded = ComparisonSettings(guard_slices=False)
    assert (
        compare(candidate, References(base), certificate=PASSED, slices=[lost, kept], settings=unguarded).verdict
        == "better"
    )


def test_another_primary_metric_decides() -> None:
    candidate = evaluation_of(rows_with([5] * 40 + [4] * 60), "deep")
    settings = ComparisonSettings(primary_metric="recall_at_1", guard_metrics=())
    assert compare(candidate, References(BASE), certificate=PASSED, settings=settings).verdict == "worse"


def test_a_comparison_survives_the_disk(tmp_path: Path) -> None:
    part = Slice("style", "all", frozenset(row.query_id for row in BASE.query_results))
    comparison = compare(GOOD, References(BASE, serving=BASE), certificate=PASSED, slices=[part])
    save_record(comparison, str(tmp_path / "comparison"))
    assert load_record(Comparison, str(tmp_path / "comparison")) == comparison


EXPANDED = dataclasses.replace(HYBRID, expanded=True)


def test_questions_in_the_index_do_not_hide_a_model_that_got_worse() -> None:
    harmed = evaluation_of(BAD.query_results, "harmed", served=GOOD.query_results, mode=EXPANDED)
    best = evaluation_of(BASE.query_results, "base", served=rows_with([1] * 95 + [8] * 5), mode=EXPANDED)
    assert compare(harmed, References(BASE), certificate=PASSED).verdict == "better"
    comparison = compare(harmed, References(BASE, expanded_base=best), certificate=PASSED)
    assert comparison.verdict == "worse"
    assert "Over the same chunks the base model is significantly better" in comparison.reason


def test_what_the_questions_bring_without_training_is_said() -> None:
    tuned = evaluation_of(GOOD.query_results, "tuned", served=rows_with([1] * 90 + [8] * 10), mode=EXPANDED)
    best = evaluation_of(BASE.query_results, "base", served=rows_with([1] * 85 + [8] * 15), mode=EXPANDED)
    comparison = compare(tuned, References(BASE, expanded_base=best), certificate=PASSED)
    assert comparison.verdict == "better"
    assert "with them the base model reaches Recall@5 0.850, the candidate 0.900" in comparison.reason


def test_the_headline_tells_apart_what_questions_and_what_training_bring() -> None:
    tuned = evaluation_of(GOOD.query_results, "tuned", served=rows_with([1] * 90 + [8] * 10), mode=EXPANDED)
    best = evaluation_of(BASE.query_results, "base", served=rows_with([1] * 85 + [8] * 15), mode=EXPANDED)
    words = " ".join(headline(compare(tuned, References(BASE, expanded_base=best), certificate=PASSED)))
    assert "40% with the base model as it is, 90% with the fine-tuned model and questions in the index" in words
    assert "The base model with the same questions in the index reaches 85%" in words
    assert "+5.0 points" in words


def test_a_candidate_over_plain_chunks_is_not_held_against_expanded_ones() -> None:
    best = evaluation_of(BASE.query_results, "base", served=rows_with([1] * 95 + [8] * 5), mode=EXPANDED)
    assert compare(GOOD, References(BASE, expanded_base=best), certificate=PASSED).against_expanded_base is None
