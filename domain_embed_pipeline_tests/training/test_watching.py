"""What the watch says about a trainer's log."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from domain_embed_pipeline.errors import TrainingDivergedError
from domain_embed_pipeline.training.settings import TrainingSettings, schedule_for
from domain_embed_pipeline.training.watching import Watch, WatchPlan, history_of

SETTINGS = TrainingSettings(patience=2, max_minutes=10)
SCHEDULE = schedule_for(SETTINGS, row_count=1_280, parameter_count=1)


def watch_of(settings: TrainingSettings = SETTINGS, *, now: list[float] | None = None) -> Watch:
    now = now or [0.0]
    return Watch(WatchPlan(settings, SCHEDULE, start_cosine=0.2, clock=lambda: now[0]))


def loss(step: int, value: float) -> dict[str, float]:
    return {"step": step, "loss": value, "learning_rate": 1e-4}


def dev(step: int, gain: float, *, cosine: float = 0.2, error: float = 0.01) -> dict[str, float]:
    return {
        "step": step,
        "eval_dev_selection": 0.5 + gain,
        "eval_dev_gain": gain,
        "eval_dev_gain_error": error,
        "eval_dev_mean_cosine": cosine,
        "eval_dev_recall_at_5": 0.5 + gain,
        "eval_dev_ndcg_at_10": 0.5 + gain,
    }


FLAT = [loss(step, 4.0) for step in range(1, 40)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_cure(value: float) -> None:
    with pytest.raises(TrainingDivergedError, match=r"at step 7\. Fix: Lower the learning rate"):
        watch_of().on_log(7, loss(7, value))


def test_progress_is_logged_with_a_counter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        watch_of().on_log(3, loss(3, 1.25))
        watch_of().on_log(4, dev(4, 0.1))
    assert caplog.messages == ["[3/40] loss 1.250", "[4/40] dev Recall@5 0.600, nDCG@10 0.600"]


def test_a_good_training_goes_on_without_notes() -> None:
    watch = watch_of()
    assert not watch.should_stop([loss(step, 4 - step / 10) for step in range(1, 21)] + [dev(20, 0.1)])
    assert watch.notes == []


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ([*FLAT, dev(40, 0.0)], "loss_is_flat"),
        ([dev(10, -0.2, cosine=0.98)], "space_collapsed"),
        ([dev(10, -0.2), dev(20, -0.2)], "dev_is_falling"),
        ([dev(10, 0.2), dev(20, 0.1), dev(30, 0.15)], "no_improvement"),
        ([{"step": 10, "eval_dev_mean_cosine": 0.98}], "space_collapsed"),
        ([*FLAT, {"step": 40, "eval_dev_mean_cosine": 0.2}], "loss_is_flat"),
    ],
    ids=["flat", "collapsed", "falling", "patience", "collapsed without dev queries", "flat without dev queries"],
)
def test_each_trouble_stops_training_and_is_noted(
    log: list[dict[str, float]], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of()
    assert watch.should_stop(log)
    assert [note.partition(":")[0] for note in watch.notes] == [name]
    assert "Training stops" in caplog.text


def test_a_flat_loss_is_no_trouble_when_dev_retrieval_got_better() -> None:
    assert not watch_of().should_stop([*FLAT, dev(40, 0.01)])  # by less than its error


def test_a_flat_loss_is_not_judged_before_the_first_epoch_is_half_over() -> None:
    assert not watch_of().should_stop([*FLAT[:12], dev(12, 0.0)])


def test_warm_up_does_not_count_as_a_loss_that_fell() -> None:
    warm_up = [loss(step, 6.0) for step in range(1, 5)]
    assert watch_of().should_stop([*warm_up, *FLAT[4:], dev(40, 0.0)])


def test_a_narrow_space_in_which_dev_queries_find_more_is_no_collapse() -> None:
    assert not watch_of().should_stop([dev(10, 0.1, cosine=0.98)])


def test_time_is_up_after_the_minutes_that_were_given() -> None:
    now = [0.0]
    watch = watch_of(now=now)
    now[0] = 599.0
    assert not watch.is_late(5)
    now[0] = 600.0
    assert watch.is_late(6)
    assert watch.notes == ["time_is_up: The time of 10 minutes was up at step 6 of 40."]


def test_without_a_limit_there_is_no_hurry() -> None:
    now = [0.0]
    watch = watch_of(dataclasses.replace(SETTINGS, max_minutes=None), now=now)
    now[0] = 1e9
    assert not watch.is_late(5)


def test_the_history_has_losses_and_dev_measurements_in_epochs_of_the_rows() -> None:
    points = history_of([loss(10, 3.0), dev(20, 0.1), {"step": 40, "train_runtime": 3.0}], steps_per_epoch=20)
    assert [(point.step, point.epoch, point.loss, point.dev_recall_at_5) for point in points] == [
        (10, 0.5, 3.0, None),
        (20, 1.0, None, 0.6),
    ]
