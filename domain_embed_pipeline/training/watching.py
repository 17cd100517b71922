"""Watching a training: log lines, history, and stopping it when going on is a waste."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain_embed_pipeline.errors import TrainingDivergedError
from domain_embed_pipeline.registry.versions import HistoryPoint
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
        plan, schedule = self._plan, self._plan.schedule
        measurements = _measurements(log_history)
        cosines = [float(entry["eval_dev_mean_cosine"]) for entry in log_history if "eval_dev_mean_cosine" in entry]
        if cosines and (found := diagnose_space(plan.start_cosine, cosines[-1])):
            return found
        if found := diagnose_dev(measurements):
            return found
        after = [entry for entry in log_history if "loss" in entry and entry["step"] > schedule.warmup_steps]
        improved = any(measured.gain > 0 for measured in measurements)
        long_enough = bool(after) and after[-1]["step"] >= min(schedule.steps_per_epoch, schedule.total_steps // 2)
        if long_enough and not improved:
            losses = [float(entry["loss"]) for entry in after]
            if found := diagnose_loss(losses, batch_size=plan.settings.batch_size):
                return found
        return diagnose_patience(measurements, patience=plan.settings.patience)


def watching_callback(watch: Watch) -> Any:
    """The watch as transformers' trainer calls it."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            watch.on_log(state.global_step, logs or {})

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if watch.should_stop(state.log_history):
                control.should_training_stop = True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
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
