"""Watching a training: log lines, history, and stopping it when going on is a waste."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain_embed_pipeline.errors import TrainingDivergedError
from domain_embed_pipeline.registry.manifest import HistoryPoint
from domain_embed_pipeline.training.diagnoses import (
    DevMeasurement,
    Diagnosis,
    diagnose_dev,
    diagnose_loss,
    diagnose_patience,
    diagnose_space,
)
from domain_embed_pipeline.training.settings import Schedule, TrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What a training is held against."""

    settings: TrainingSettings
    schedule: Schedule
    start_cosine: float
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


class Watch:
    """Stops a training that is going wrong and keeps the reasons. All it knows is in the trainer's own log."""

    def __init__(self, plan: WatchPlan) -> None:
        self._plan = plan
        self._started = plan.clock()
        self.notes: list[str] = []

    def on_log(self, step: int, logs: Mapping[str, Any]) -> None:
        """Log a line.

        Raises:
            TrainingDivergedError: If the loss is not finite.
        """
        loss, total = logs.get("loss"), self._plan.schedule.total_steps
        if loss is not None and not math.isfinite(float(loss)):
            raise TrainingDivergedError(
                f"The loss is {loss} at step {step}.",
                fix="Lower the learning rate, or set precision to float32.",
            )
        if "eval_dev_recall_at_5" in logs:
            recall, gain = logs["eval_dev_recall_at_5"], logs["eval_dev_ndcg_at_10"]
            logger.info("[%d/%d] dev Recall@5 %.3f, nDCG@10 %.3f", step, total, recall, gain)
        elif loss is not None:
            logger.info("[%d/%d] loss %.3f", step, total, float(loss))

    def should_stop(self, log_history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether to stop after a dev measurement; the reason is added to the notes."""
        diagnosis = self._diagnosis(log_history)
        if diagnosis is not None:
            self._stop(diagnosis)
        return diagnosis is not None

    def is_late(self, step: int) -> bool:
        """Whether the time is up; the reason is added to the notes."""
        limit = self._plan.settings.max_minutes
        if limit is None or self._plan.clock() - self._started < limit * 60:
            return False
        message = f"The time of {limit:g} minutes was up at step {step} of {self._plan.schedule.total_steps}."
        self._stop(Diagnosis("time_is_up", message))
        return True

    def _stop(self, diagnosis: Diagnosis) -> None:
        logger.warning("Training stops: %s", diagnosis.message)
        self.notes.append(f"{diagnosis.name}: {diagnosis.message}")

    def _diagnosis(self, log_history: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
        measurements = _measurements(log_history)
        return (
            self._space(log_history, measurements)
            or diagnose_dev(measurements)
            or self._loss(log_history, measurements)
            or diagnose_patience(measurements, patience=self._plan.settings.patience)
        )

    def _space(
        self, log_history: Sequence[Mapping[str, Any]], measurements: Sequence[DevMeasurement]
    ) -> Diagnosis | None:
        """A narrow space in which dev queries find more than before is no trouble."""
        cosines = [float(entry["eval_dev_mean_cosine"]) for entry in log_history if "eval_dev_mean_cosine" in entry]
        if not cosines or (measurements and measurements[-1].gain > 0):
            return None
        return diagnose_space(self._plan.start_cosine, cosines[-1])

    def _loss(
        self, log_history: Sequence[Mapping[str, Any]], measurements: Sequence[DevMeasurement]
    ) -> Diagnosis | None:
        """Nor is a loss that stays once dev retrieval was above that of the start.

        Batches differ, and another epoch of the same pairs may still lower it; patience ends what brings nothing more.
        """
        schedule = self._plan.schedule
        entries = [entry for entry in log_history if "loss" in entry and entry["step"] > schedule.warmup_steps]
        if not entries or entries[-1]["step"] < min(schedule.steps_per_epoch, schedule.total_steps // 2):
            return None
        if any(measured.gain > 0 for measured in measurements):
            return None
        losses = [float(entry["loss"]) for entry in entries]
        return diagnose_loss(losses, batch_size=self._plan.settings.batch_size)


def watching_callback(watch: Watch) -> Any:
    """The watch as transformers' trainer calls it."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        """Hands the trainer's events to the watch."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            """Losses, as the trainer logs them."""
            watch.on_log(state.global_step, logs or {})

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Ends the training when dev has not risen for long enough."""
            if watch.should_stop(state.log_history):
                control.should_training_stop = True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Out of time: one last evaluation and checkpoint, then the end."""
            if not control.should_training_stop and watch.is_late(state.global_step):
                control.should_training_stop = control.should_evaluate = control.should_save = True

    return Watching()


def history_of(log_history: Sequence[Mapping[str, Any]], *, steps_per_epoch: int) -> tuple[HistoryPoint, ...]:
    """The curves: losses and dev measurements in order of steps."""
    return tuple(
        HistoryPoint(
            step=int(entry["step"]),
            epoch=round(int(entry["step"]) / steps_per_epoch, 4),
            loss=_number(entry.get("loss")),
            learning_rate=_number(entry.get("learning_rate")),
            dev_recall_at_5=_number(entry.get("eval_dev_recall_at_5")),
            dev_ndcg_at_10=_number(entry.get("eval_dev_ndcg_at_10")),
        )
        for entry in log_history
        if "loss" in entry or "eval_dev_recall_at_5" in entry
    )


def dev_metrics_at(step: int, log_history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Dev retrieval that was measured at a step, by the names of metrics."""
    wanted = ("eval_dev_recall_at", "eval_dev_ndcg_at")
    return {
        name.removeprefix("eval_dev_"): float(value)
        for entry in log_history
        if entry.get("step") == step
        for name, value in entry.items()
        if name.startswith(wanted)
    }


def _measurements(log_history: Sequence[Mapping[str, Any]]) -> list[DevMeasurement]:
    return [
        DevMeasurement(
            step=int(entry["step"]),
            selection=float(entry["eval_dev_selection"]),
            gain=float(entry["eval_dev_gain"]),
            gain_error=float(entry["eval_dev_gain_error"]),
        )
        for entry in log_history
        if "eval_dev_selection" in entry
    ]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
