"""No batch holds a false negative, and no row is forgotten."""

from __future__ import annotations

import pickle
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain_embed_pipeline.training.sampler import PlannedSampling, RowGroups, grouped_batches, plan_batches

NAMES = st.sampled_from("abcdefgh")
GROUPS = st.lists(
    st.builds(
        RowGroups, st.frozensets(NAMES, min_size=1, max_size=2), st.frozensets(st.sampled_from("stuvabc"), max_size=2)
    ),
    min_size=1,
    max_size=40,
)


def conflicts(batch: list[int], groups: list[RowGroups]) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one in batch
        for other in batch
        if one != other and groups[one].own & (groups[other].own | groups[other].negatives)
    ]


@given(GROUPS, st.integers(1, 8), st.randoms(use_true_random=False))
def test_no_batch_has_a_conflict_and_every_row_is_in_one_batch(groups: list, size: int, generator: object) -> None:
    order = list(range(len(groups)))
    generator.shuffle(order)  # type: ignore[attr-defined]
    batches = list(grouped_batches(groups, order, size))
    assert sorted(row for batch in batches for row in batch) == sorted(order)
    assert all(0 < len(batch) <= size for batch in batches)
    assert [conflicts(batch, groups) for batch in batches if conflicts(batch, groups)] == []


@given(GROUPS, st.integers(2, 8), st.floats(0.1, 3), st.integers(0, 5))
def test_a_plan_is_deterministic_and_free_of_conflicts(groups: list, size: int, epochs: float, seed: int) -> None:
    plan = plan_batches(groups, batch_size=size, epochs=epochs, seed=seed)
    assert plan == plan_batches(groups, batch_size=size, epochs=epochs, seed=seed)
    assert not any(conflicts(batch, groups) for batch in plan)


def test_rows_without_conflicts_keep_the_given_order() -> None:
    groups = [RowGroups(frozenset((str(row),))) for row in range(7)]
    assert list(grouped_batches(groups, [6, 5, 4, 3, 2, 1, 0], 3)) == [[6, 5, 4], [3, 2, 1], [0]]


def test_a_row_that_conflicts_waits_for_the_next_batch() -> None:
    groups = [RowGroups(frozenset(name)) for name in "aabc"]
    assert list(grouped_batches(groups, [0, 1, 2, 3], 2)) == [[0, 2], [1, 3]]


def test_a_mined_negative_keeps_its_row_from_the_row_it_is_the_answer_of() -> None:
    groups = [RowGroups(frozenset("a"), frozenset("b")), RowGroups(frozenset("b")), RowGroups(frozenset("c"))]
    assert list(grouped_batches(groups, [0, 1, 2], 3)) == [[0, 2], [1]]
    assert list(grouped_batches(groups, [1, 0, 2], 3)) == [[1, 2], [0]]


def test_two_rows_may_share_a_mined_negative() -> None:
    groups = [RowGroups(frozenset("a"), frozenset("n")), RowGroups(frozenset("b"), frozenset("n"))]
    assert list(grouped_batches(groups, [0, 1], 2)) == [[0, 1]]


def separate(count: int) -> list[RowGroups]:
    return [RowGroups(frozenset((str(row),))) for row in range(count)]


def test_every_epoch_sees_every_row_once_in_another_order() -> None:
    plan = plan_batches(separate(64), batch_size=8, epochs=2, seed=1)
    first, second = [row for batch in plan[:8] for row in batch], [row for batch in plan[8:] for row in batch]
    assert sorted(first) == sorted(second) == list(range(64))
    assert first != second


def test_another_seed_gives_another_plan() -> None:
    assert plan_batches(separate(64), batch_size=8, epochs=1, seed=1) != plan_batches(
        separate(64), batch_size=8, epochs=1, seed=2
    )


def test_half_an_epoch_is_half_of_the_rows() -> None:
    plan = plan_batches(separate(64), batch_size=8, epochs=1.5, seed=1)
    assert len(plan) == 12
    assert max(Counter(row for batch in plan[8:] for row in batch).values()) == 1


def test_batches_stay_full_across_the_end_of_an_epoch() -> None:
    plan = plan_batches(separate(50), batch_size=8, epochs=4, seed=1)
    assert [len(batch) for batch in plan] == [8] * 25


def test_a_crumb_of_a_last_batch_is_left_out() -> None:
    assert [len(batch) for batch in plan_batches(separate(65), batch_size=16, epochs=1, seed=1)] == [16] * 4
    assert [len(batch) for batch in plan_batches(separate(70), batch_size=16, epochs=1, seed=1)] == [16] * 4 + [6]


def test_one_huge_cluster_costs_no_steps_of_single_rows(caplog: pytest.LogCaptureFixture) -> None:
    groups = [RowGroups(frozenset((str(row) if row < 500 else "boilerplate",))) for row in range(1000)]
    plan = plan_batches(groups, batch_size=32, epochs=1, seed=1)
    assert len(plan) < 30
    assert len({row for batch in plan for row in batch if row < 500}) > 500 - 32
    assert "near-duplicates of so many others" in caplog.text


@pytest.mark.slow
def test_planning_is_linear_even_when_one_cluster_holds_half_of_the_rows() -> None:
    groups = [RowGroups(frozenset((str(row) if row % 2 else "boilerplate",))) for row in range(40_000)]
    started = time.process_time()
    plan_batches(groups, batch_size=64, epochs=1, seed=1)
    assert time.process_time() - started < 20


def test_the_sampler_of_the_trainer_yields_the_plan_and_is_pickled_without_it() -> None:
    sampling = PlannedSampling([[0, 1], [2]])
    sampler = sampling(range(3), 2, False, seed=3, generator=None, valid_label_columns=None)
    assert (list(sampler), len(sampler)) == ([[0, 1], [2]], 2)
    assert len(pickle.dumps(PlannedSampling([[row] for row in range(10_000)]))) < 500
