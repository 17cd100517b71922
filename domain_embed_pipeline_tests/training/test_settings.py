"""The written rule of learning rate, epochs and steps."""

from __future__ import annotations

import dataclasses

import pytest

from domain_embed_pipeline.training.settings import TrainingSettings, epochs_for, learning_rate_for, schedule_for

SETTINGS = TrainingSettings()


@pytest.mark.parametrize(
    ("parameters", "rate"), [(4_000_000, 8e-5), (22_000_000, 8e-5), (88_000_000, 4e-5), (10**12, 1e-5)]
)
def test_the_learning_rate_falls_with_the_square_root_of_the_size(parameters: int, rate: float) -> None:
    assert learning_rate_for(parameters) == pytest.approx(rate)


def test_few_pairs_are_seen_more_often() -> None:
    assert [epochs_for(count) for count in (100, 999, 1_000, 2_999, 3_000, 10**6)] == [3, 3, 2, 2, 1, 1]


def test_the_rule_fills_in_what_is_not_given() -> None:
    schedule = schedule_for(SETTINGS, row_count=4_596, parameter_count=22_000_000)
    assert (schedule.learning_rate, schedule.epochs) == (pytest.approx(8e-5), 1)
    assert (schedule.steps_per_epoch, schedule.total_steps) == (72, 72)
    assert (schedule.warmup_steps, schedule.evaluation_steps) == (8, 36)


def test_what_is_given_stays() -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=3e-5, epochs=1.5, batch_size=100, warmup_ratio=0)
    schedule = schedule_for(settings, row_count=1_000, parameter_count=1)
    assert (schedule.learning_rate, schedule.epochs, schedule.warmup_steps) == (3e-5, 1.5, 0)
    assert (schedule.total_steps, schedule.steps_per_epoch) == (15, 10)


def test_planned_batches_count_more_than_the_estimate() -> None:
    schedule = schedule_for(SETTINGS, row_count=640, parameter_count=1, total_steps=45)
    assert (schedule.total_steps, schedule.steps_per_epoch) == (45, 15)


def test_a_ceiling_on_steps_shortens_warm_up_and_evaluations_too() -> None:
    settings = dataclasses.replace(SETTINGS, max_steps=1)
    schedule = schedule_for(settings, row_count=10_000, parameter_count=1)
    assert (schedule.total_steps, schedule.warmup_steps, schedule.evaluation_steps) == (1, 1, 1)
