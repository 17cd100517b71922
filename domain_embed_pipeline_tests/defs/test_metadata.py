from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from domain_embed_pipeline.defs.metadata.evaluation import of_comparison, of_evaluation
from domain_embed_pipeline.defs.metadata.values import counts_by, spread, table
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, References, compare
from domain_embed_pipeline.evaluation.records import METRICS, GuardResult
from domain_embed_pipeline.evaluation.slices import Slice
from domain_embed_pipeline_tests.evaluation.helpers import evaluation_of, rows_with

BASE = evaluation_of(rows_with([1] * 40 + [8] * 60), "base")
GOOD = evaluation_of(rows_with([1] * 70 + [8] * 30), "good")
PASSED = CertificateOutcome("sha256:1", passed=True)
GUARD = GuardResult("everyday-home", "ndcg_at_10", 33, 0.5, 0.4, -0.1, -0.2, 0.0, 0.06, "not_shown")


def test_keys_of_a_comparison_are_the_same_whether_or_not_something_is_live() -> None:
    first = of_comparison(compare(GOOD, References(BASE), certificate=PASSED), "first.html")
    later = of_comparison(
        compare(GOOD, References(BASE, serving=BASE), certificate=PASSED), "later.html", previous_report="a.html"
    )
    assert list(first) == list(later)
    assert (first["previous_model_version"], later["previous_model_version"]) == ("none", "base")
    assert first["against_serving"] == "nothing live"
    assert first["against_expanded_base"] == "chunks are not expanded"


def test_every_measure_and_every_guard_set_has_a_number_to_plot() -> None:
    comparison = dataclasses.replace(compare(GOOD, References(BASE), certificate=PASSED), general_ability=(GUARD,))
    shown = of_comparison(comparison, "report.html")
    assert shown["recall_at_5_difference"] == pytest.approx(0.3)
    assert all(type(shown[f"{metric}_difference"]) is float for metric in METRICS)
    assert shown["guard_everyday_home_difference"] == -0.1
    assert shown["general_ability"].records[0].data == {
        "guard set": "everyday-home", "metric": "ndcg_at_10", "queries": 33, "base": 0.5, "candidate": 0.4,
        "low": -0.2, "high": 0.0, "verdict": "not_shown",
    }  # fmt: skip


def test_slices_and_guard_sets_are_shown_in_the_same_columns() -> None:
    halves = Slice("half", "first", frozenset(row.query_id for row in BASE.query_results[:50]))
    shown = of_comparison(compare(GOOD, References(BASE), slices=[halves], certificate=PASSED), "report.html")
    (row,) = shown["slices"].records
    assert list(row.data) == ["group", "slice", "queries", "base", "candidate", "low", "high", "verdict"]


def test_an_evaluation_shows_dense_and_served_means() -> None:
    shown = of_evaluation(GOOD, parent_model_version=None)
    assert shown["recall_at_5"] == shown["served_recall_at_5"] == pytest.approx(0.7)
    assert shown["parent_model_version"] == "none"


def test_numpy_numbers_and_long_texts_fit_into_a_table() -> None:
    shown = table([{"count": 3, "share": np.float64(0.123456), "text": "word " * 100}])
    assert not isinstance(shown, str)
    (row,) = shown.records
    assert row.data["share"] == 0.1235
    assert len(str(row.data["text"])) == 300
    assert table([]) == "none"


def test_samples_come_from_the_whole_length() -> None:
    assert list(spread(range(80))) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert list(spread(range(3))) == [0, 1, 2]


def test_counts_are_sorted_by_frequency() -> None:
    assert counts_by(["md", "pdf", "pdf"]) == [{"value": "pdf", "count": 2}, {"value": "md", "count": 1}]
