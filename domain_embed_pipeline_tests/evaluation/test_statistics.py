from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from domain_embed_pipeline.errors import IncomparableError
from domain_embed_pipeline.evaluation.statistics import ResamplingSettings, holm, mean_intervals, paired_differences
from domain_embed_pipeline_tests.evaluation.helpers import rows_with


def random_ranks(seed: int, count: int = 200, highest: int = 12) -> list[int | None]:
    return [int(rank) for rank in np.random.default_rng(seed).integers(1, highest, size=count)]


def test_means_wins_ties_and_losses_by_hand() -> None:
    (recall,) = paired_differences(rows_with([1, 1, 8, 1]), rows_with([1, 8, 1, 8]), ["recall_at_5"])
    assert (recall.reference, recall.candidate, recall.difference) == (0.5, 0.75, 0.25)
    assert (recall.wins, recall.ties, recall.losses) == (2, 1, 1)


def test_interval_agrees_with_scipy_when_every_query_is_its_own_cluster() -> None:
    candidate, reference = rows_with(random_ranks(1)), rows_with(random_ranks(2))
    (ours,) = paired_differences(candidate, reference, ["ndcg_at_10"])
    values = [one.ndcg_at_10 - other.ndcg_at_10 for one, other in zip(candidate, reference, strict=True)]
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(9))
    assert ours.interval_low == pytest.approx(theirs.confidence_interval.low, abs=0.003)
    assert ours.interval_high == pytest.approx(theirs.confidence_interval.high, abs=0.003)


def test_p_value_agrees_with_scipy() -> None:
    candidate, reference = rows_with(random_ranks(1)), rows_with(random_ranks(2))
    (ours,) = paired_differences(candidate, reference, ["ndcg_at_10"])
    values = np.array([one.ndcg_at_10 - other.ndcg_at_10 for one, other in zip(candidate, reference, strict=True)])
    theirs = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", rng=np.random.default_rng(9)
    )
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_p_value_by_hand_with_four_wins() -> None:
    (recall,) = paired_differences(rows_with([1, 1, 1, 1]), rows_with([8, 8, 8, 8]), ["recall_at_5"])
    assert recall.p_value == pytest.approx(2 / 16, abs=0.01)


def test_queries_of_one_cluster_widen_the_interval_because_they_are_not_independent() -> None:
    reference = [1, 8] * 100
    candidate = [1, 1] * 50 + [8, 8] * 30 + [1, 8] * 20
    clusters = [f"k{place // 20}" for place in range(200)]
    alone = paired_differences(rows_with(candidate), rows_with(reference), ["recall_at_5"])[0]
    together = paired_differences(rows_with(candidate, clusters), rows_with(reference, clusters), ["recall_at_5"])[0]
    assert together.difference == alone.difference
    assert together.interval_high - together.interval_low > 1.5 * (alone.interval_high - alone.interval_low)
    assert together.p_value > alone.p_value


def test_clusters_of_unequal_size_keep_the_mean_per_query_inside_the_interval() -> None:
    clusters = ["big"] * 20 + [f"k{place}" for place in range(20)]
    (recall,) = paired_differences(
        rows_with([1] * 40, clusters), rows_with([8] * 20 + [1] * 20, clusters), ["recall_at_5"]
    )
    assert recall.difference == 0.5
    assert recall.interval_low <= 0.5 <= recall.interval_high


def test_an_identical_copy_has_no_difference_and_still_a_detectable_effect() -> None:
    rows = rows_with(random_ranks(1))
    (recall,) = paired_differences(rows, rows, ["recall_at_5"])
    assert (recall.difference, recall.interval_low, recall.interval_high, recall.p_value) == (0, 0, 0, 1)
    assert recall.minimum_detectable_effect == pytest.approx(2.8016 / 200, rel=1e-3)


def test_minimum_detectable_effect_follows_the_standard_error() -> None:
    candidate, reference = rows_with(random_ranks(1)), rows_with(random_ranks(2))
    (recall,) = paired_differences(candidate, reference, ["recall_at_5"])
    values = [one.recall_at_5 - other.recall_at_5 for one, other in zip(candidate, reference, strict=True)]
    assert recall.minimum_detectable_effect == pytest.approx(2.8016 * stats.sem(values), rel=0.05)


def test_equal_seeds_give_equal_figures_and_other_seeds_others() -> None:
    candidate, reference = rows_with(random_ranks(1)), rows_with(random_ranks(2))
    first = paired_differences(candidate, reference, ["recall_at_5"])
    assert first == paired_differences(candidate, reference, ["recall_at_5"])
    assert first != paired_differences(candidate, reference, ["recall_at_5"], settings=ResamplingSettings(seed=1))


def test_rows_of_other_queries_are_refused() -> None:
    with pytest.raises(IncomparableError, match="2 and 1 query results"):
        paired_differences(rows_with([1, 1]), rows_with([1]), ["recall_at_5"])


def test_mean_interval_is_the_binomial_one_for_single_answers() -> None:
    (recall,) = mean_intervals(rows_with([1] * 60 + [8] * 40), ["recall_at_5"])
    assert recall.mean == 0.6
    assert (recall.interval_low, recall.interval_high) == pytest.approx((0.504, 0.696), abs=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
