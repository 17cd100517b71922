"""Fine-tuning one stage: rows in, a model out, from its last checkpoint when there is one.

What belongs here: the order of things. What does not: mining, choosing among stages, storing versions.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.hardware import quiet_libraries
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import TooFewPairsError, TrainingDivergedError
from domain_embed_pipeline.ids import digest_of_json
from domain_embed_pipeline.registry.manifest import HistoryPoint, library_versions
from domain_embed_pipeline.training.checkpoints import open_checkpoints
from domain_embed_pipeline.training.dev_evaluator import DevMeter, sample_passages
from domain_embed_pipeline.training.dev_set import DevGoal
from domain_embed_pipeline.training.distributed import first_before_others, wait_for_others
from domain_embed_pipeline.training.lora import add_lora, merge_lora
from domain_embed_pipeline.training.rows import TrainingRow, rows_digest
from domain_embed_pipeline.training.sampler import plan_batches
from domain_embed_pipeline.training.settings import (
    FEW_PAIRS,
    MINIMUM_PAIRS,
    Schedule,
    TrainingSettings,
    epochs_for,
    schedule_for,
)
from domain_embed_pipeline.training.tensorboard import tensorboard_callback
from domain_embed_pipeline.training.trainer import TrainerPlan, make_trainer, training_precision
from domain_embed_pipeline.training.watching import Watch, WatchPlan, dev_metrics_at, history_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageTask:
    """What one stage does to a model."""

    rows: Sequence[TrainingRow]
    """With at least `MINIMUM_PAIRS` anchors in all."""
    settings: TrainingSettings
    spec: EncoderSpec
    """Prompts, normalisation and dtype the model is used with."""
    goal: DevGoal | None
    """Dev queries that choose the checkpoint; None trains to the end."""
    folder: Path
    """Where checkpoints go; removed once the stage is done, and when it diverged."""
    curves: Path | None = None
    """Where TensorBoard finds loss, learning rate and dev retrieval while it runs; nowhere when not given."""


@dataclass(frozen=True, slots=True)
class TrainedStage:
    """Outcome of one stage; the model is in memory, from its best checkpoint when there were dev queries."""

    model: SentenceTransformer
    schedule: Schedule
    history: tuple[HistoryPoint, ...]
    best_step: int
    dev_metrics: dict[str, float]
    """Dev retrieval of the model; empty without dev queries."""
    notes: tuple[str, ...]
    """Why it stopped early, and what else was noticed; each begins with a stable name."""
    row_count: int
    duration_s: float


def fine_tune(model: SentenceTransformer, task: StageTask) -> TrainedStage:
    """Train one stage, resuming from the last checkpoint in the task's folder when there is one.

    Args:
        model: Model to start from; it is changed in place.
        task: What to train it on, and how.

    Raises:
        TooFewPairsError: Under `MINIMUM_PAIRS` anchors.
        TrainingDivergedError: If the loss or a vector is not finite.
        TrainingMemoryError: If memory runs out even with one text at a time.
        MissingDependencyError: If curves are asked for and the package tensorboard is not installed.
    """
    _check_pair_count(_pair_count(task.rows))
    quiet_libraries()
    started = time.monotonic()
    settings, plan = task.settings, training_plan(model, task)
    if settings.lora_rank is not None:
        add_lora(model, settings.lora_rank)
    logger.info(
        "Training on %d rows: %d steps of %d, learning rate %.1e, %g epochs.",
        *(len(task.rows), plan.schedule.total_steps, settings.batch_size),
        *(plan.schedule.learning_rate, plan.schedule.epochs),
    )
    watch = Watch(WatchPlan(settings, plan.schedule, plan.meter.measure_space(model)))
    state = _run(model, plan, watch, task.curves)
    if settings.lora_rank is not None:
        merge_lora(model)
    best_step = int((plan.judged and state.best_global_step) or state.global_step)
    return TrainedStage(
        model=model,
        schedule=plan.schedule,
        history=_start_point(task.goal) + history_of(state.log_history, steps_per_epoch=plan.schedule.steps_per_epoch),
        best_step=best_step,
        dev_metrics=dev_metrics_at(best_step, state.log_history),
        notes=tuple(watch.notes),
        row_count=len(task.rows),
        duration_s=time.monotonic() - started,
    )


def training_plan(model: SentenceTransformer, task: StageTask) -> TrainerPlan:
    """Batches and schedule of a stage."""
    settings, rows = task.settings, task.rows
    epochs = settings.epochs if settings.epochs is not None else epochs_for(_pair_count(rows), len(rows))
    batches = plan_batches(
        [row.groups for row in rows], batch_size=settings.batch_size, epochs=epochs, seed=settings.seed
    )
    parameter_count = sum(parameter.numel() for parameter in model.parameters())
    schedule = schedule_for(
        settings, row_count=len(rows), epochs=epochs, parameter_count=parameter_count, total_steps=len(batches)
    )
    return TrainerPlan(
        settings=settings,
        schedule=schedule,
        spec=task.spec,
        rows=rows,
        batches=batches[: schedule.total_steps],
        meter=DevMeter(task.spec, task.goal, sample_passages(rows), dimensions=settings.matryoshka_dimensions),
        judged=task.goal is not None,
        folder=task.folder,
    )


def _run(model: SentenceTransformer, plan: TrainerPlan, watch: Watch, curves: Path | None) -> Any:
    """Train, and return the trainer's state; the model's own length is put back in any case."""
    with first_before_others():
        checkpoint = open_checkpoints(plan.folder, _identity(str(model.device), plan))
    own_length = model.max_seq_length
    model.max_seq_length = min(plan.settings.max_length, own_length or plan.settings.max_length)
    try:
        trainer = make_trainer(model, plan, watch)
        if curves is not None:
            trainer.add_callback(tensorboard_callback(curves))
        trainer.train(resume_from_checkpoint=checkpoint)
    except TrainingDivergedError:
        shutil.rmtree(plan.folder, ignore_errors=True)
        raise
    finally:
        model.max_seq_length = own_length
    wait_for_others()  # they may be reading the best checkpoint
    shutil.rmtree(plan.folder, ignore_errors=True)
    return trainer.state


def _identity(device: str, plan: TrainerPlan) -> str:
    """Digest of what checkpoints depend on: with another one they are not to be gone on from."""
    return digest_of_json(
        {
            "rows": rows_digest(plan.rows),
            "settings": dataclasses.asdict(plan.settings),
            "spec": dataclasses.asdict(plan.spec),
            "precision": training_precision(device, plan.settings),
            "libraries": library_versions(),
        }
    )


def _start_point(goal: DevGoal | None) -> tuple[HistoryPoint, ...]:
    if goal is None:
        return ()
    means = goal.start.means()
    return (HistoryPoint(0, 0.0, None, None, means["recall_at_5"], means["ndcg_at_10"]),)


def _pair_count(rows: Sequence[TrainingRow]) -> int:
    return sum(len(set(row.anchors)) for row in rows)


def _check_pair_count(count: int) -> None:
    if count < MINIMUM_PAIRS:
        raise TooFewPairsError(
            f"{count} training pairs; under {MINIMUM_PAIRS} a model learns the pairs, not the domain.",
            fix="Add documents, have questions generated (set ANTHROPIC_API_KEY or import some), or give user pairs.",
        )
    if count < FEW_PAIRS:
        logger.warning("Only %d training pairs: under %d results differ much from run to run.", count, FEW_PAIRS)
