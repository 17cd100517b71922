"""Fine-tuning one stage with MultipleNegativesRankingLoss through sentence-transformers' trainer.

What belongs here: rows, loss, trainer, checkpoints and resuming. What does not: mining, choosing among stages, storing
versions.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.hardware import choose_dtype
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import TooFewPairsError, TrainingDivergedError
from domain_embed_pipeline.ids import normalise_text
from domain_embed_pipeline.records import HardNegative, TrainingPair
from domain_embed_pipeline.registry.versions import HistoryPoint
from domain_embed_pipeline.training.dev_set import DevSet, score_on_dev
from domain_embed_pipeline.training.sampler import GroupAwareSampling, RowGroups
from domain_embed_pipeline.training.settings import (
    FEW_PAIRS,
    MINIMUM_PAIRS,
    Schedule,
    TrainingSettings,
    schedule_for,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row of the loss's input: anchor, positive, mined negatives."""

    anchor: str
    positive: str
    negatives: tuple[str, ...]
    groups: RowGroups


@dataclass(frozen=True, slots=True)
class TrainedStage:
    """Outcome of one stage; the model is in memory and, from its best checkpoint, what dev chose."""

    model: SentenceTransformer
    schedule: Schedule
    history: tuple[HistoryPoint, ...]
    best_step: int
    row_count: int
    duration_s: float


def pair_rows(pairs: Sequence[TrainingPair], clusters: Mapping[str, str]) -> list[TrainingRow]:
    """Rows without mined negatives.

    Args:
        pairs: Anchor-positive pairs.
        clusters: Near-duplicate cluster of each chunk; a chunk that is not in it is its own cluster.
    """
    return [
        TrainingRow(
            anchor=pair.anchor,
            positive=pair.positive,
            negatives=(),
            groups=RowGroups(frozenset((_anchor_group(pair.anchor), clusters.get(pair.chunk_id, pair.chunk_id)))),
        )
        for pair in pairs
    ]


def negative_rows(negatives: Sequence[HardNegative], clusters: Mapping[str, str]) -> list[TrainingRow]:
    """Rows of one mined negative each."""
    return [
        TrainingRow(
            anchor=row.anchor,
            positive=row.positive,
            negatives=(row.negative,),
            groups=RowGroups(
                own=frozenset((_anchor_group(row.anchor), clusters.get(row.chunk_id, row.chunk_id))),
                negatives=frozenset((clusters.get(row.negative_chunk_id, row.negative_chunk_id),)),
            ),
        )
        for row in negatives
    ]


def _anchor_group(anchor: str) -> str:
    return f"anchor:{normalise_text(anchor).casefold()}"


def fine_tune(
    model: SentenceTransformer,
    rows: Sequence[TrainingRow],
    *,
    settings: TrainingSettings,
    spec: EncoderSpec,
    dev: DevSet | None,
    folder: Path,
) -> TrainedStage:
    """Train one stage, resuming from the last checkpoint in `folder` when there is one.

    Args:
        model: Model to start from; it is changed in place.
        rows: At least `MINIMUM_PAIRS` rows.
        settings: How to train.
        spec: Prompts, normalisation and dtype the model is used with.
        dev: Dev queries that choose the checkpoint; None trains to the end.
        folder: Where checkpoints go; removed once the stage is done.

    Raises:
        TooFewPairsError: Under `MINIMUM_PAIRS` rows.
        TrainingDivergedError: If the loss is not finite.
    """
    _check_row_count(len(rows))
    started = time.monotonic()
    parameter_count = sum(parameter.numel() for parameter in model.parameters())
    schedule = schedule_for(settings, pair_count=len(rows), parameter_count=parameter_count)
    logger.info(
        "Training on %d rows: %d steps of %d, learning rate %.1e, %g epochs.",
        len(rows), schedule.total_steps, settings.batch_size, schedule.learning_rate, schedule.epochs,
    )  # fmt: skip
    recorder = _Recorder(total=schedule.total_steps)
    inference_length = model.max_seq_length
    model.max_seq_length = min(settings.max_length, inference_length or settings.max_length)
    trainer = _make_trainer(model, rows, settings, schedule, spec, dev, folder, recorder)
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    model.max_seq_length = inference_length
    history = tuple(recorder.points(trainer.state.log_history))
    best_step = int(trainer.state.best_global_step or trainer.state.global_step)
    shutil.rmtree(folder, ignore_errors=True)
    return TrainedStage(
        model=model,
        schedule=schedule,
        history=history,
        best_step=best_step,
        row_count=len(rows),
        duration_s=time.monotonic() - started,
    )


def _check_row_count(count: int) -> None:
    if count < MINIMUM_PAIRS:
        raise TooFewPairsError(
            f"{count} training pairs; under {MINIMUM_PAIRS} a model learns the pairs, not the domain.",
            fix="Add documents, have questions generated (set ANTHROPIC_API_KEY or import some), or give user pairs.",
        )
    if count < FEW_PAIRS:
        logger.warning("Only %d training pairs: under %d results differ much from run to run.", count, FEW_PAIRS)


def _last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; one that a kill cut short lacks the trainer's state and is skipped."""
    complete = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    if newest is None:
        return None
    logger.info("Resuming from %s.", newest)
    return str(newest)


def _dataset(rows: Sequence[TrainingRow], spec: EncoderSpec) -> Dataset:
    """Columns in the order the loss reads them: anchor, positive, negative_1, ..."""
    from datasets import Dataset

    columns: dict[str, list[str]] = {
        "anchor": [spec.query_prompt + row.anchor for row in rows],
        "positive": [spec.passage_prompt + row.positive for row in rows],
    }
    for index in range(min(len(row.negatives) for row in rows)):
        columns[f"negative_{index + 1}"] = [spec.passage_prompt + row.negatives[index] for row in rows]
    return Dataset.from_dict(columns)


def _make_loss(model: SentenceTransformer, settings: TrainingSettings) -> Any:
    from sentence_transformers.sentence_transformer import losses

    directions = ("query_to_doc", "doc_to_query") if settings.symmetric else ("query_to_doc",)
    if settings.mini_batch_size is None:
        return losses.MultipleNegativesRankingLoss(model, scale=settings.scale, directions=directions)
    return losses.CachedMultipleNegativesRankingLoss(
        model, scale=settings.scale, directions=directions, mini_batch_size=settings.mini_batch_size
    )


def _make_trainer(
    model: SentenceTransformer,
    rows: Sequence[TrainingRow],
    settings: TrainingSettings,
    schedule: Schedule,
    spec: EncoderSpec,
    dev: DevSet | None,
    folder: Path,
    recorder: _Recorder,
) -> Any:
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from transformers import PrinterCallback

    on_gpu = model.device.type == "cuda"
    dtype = choose_dtype(str(model.device))
    judged = dev is not None
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=schedule.epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        weight_decay=settings.weight_decay,
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16" and on_gpu,
        use_cpu=not on_gpu,
        batch_sampler=GroupAwareSampling([row.groups for row in rows]),
        eval_strategy="steps" if judged else "no",
        eval_steps=schedule.evaluation_steps,
        save_strategy="steps",
        save_steps=schedule.evaluation_steps,
        save_total_limit=2,
        load_best_model_at_end=judged,
        metric_for_best_model="eval_dev_selection" if judged else None,
        greater_is_better=True,
        logging_steps=max(1, schedule.total_steps // 50),
        logging_nan_inf_filter=False,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
        dataloader_num_workers=4 if on_gpu else 0,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=_dataset(rows, spec),
        loss=_make_loss(model, settings),
        evaluator=_dev_evaluator(spec, dev) if dev is not None else None,
        callbacks=[recorder.callback()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _dev_evaluator(spec: EncoderSpec, dev: DevSet) -> Any:
    """Dev retrieval as an evaluator of sentence-transformers; `eval_dev_selection` chooses the checkpoint."""
    from sentence_transformers.base.evaluation import BaseEvaluator

    from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder

    class DevRetrieval(BaseEvaluator):
        primary_metric = "dev_selection"

        def __call__(
            self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
        ) -> dict[str, float]:
            training_length = model.max_seq_length
            try:
                means = score_on_dev(SentenceTransformerEncoder(model, spec), dev).means()
            finally:
                model.max_seq_length = training_length
                model.train()
            return {f"dev_{name}": value for name, value in means.items()}

    return DevRetrieval()


class _Recorder:
    """Watches a training: stops it on a loss that is not finite, logs progress, makes the history."""

    def __init__(self, *, total: int) -> None:
        self._total = total

    def callback(self) -> Any:
        from transformers import TrainerCallback

        recorder = self

        class Watch(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                recorder.watch(state.global_step, logs or {})

        return Watch()

    def watch(self, step: int, logs: Mapping[str, Any]) -> None:
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise TrainingDivergedError(
                f"The loss is {loss} at step {step}.",
                fix="Lower the learning rate, or use float32 or bfloat16 instead of float16.",
            )
        if "eval_dev_recall_at_5" in logs:
            recall, gain = logs["eval_dev_recall_at_5"], logs["eval_dev_ndcg_at_10"]
            logger.info("[%d/%d] dev Recall@5 %.3f, nDCG@10 %.3f", step, self._total, recall, gain)
        elif loss is not None:
            logger.info("[%d/%d] loss %.3f", step, self._total, float(loss))

    @staticmethod
    def points(log_history: Sequence[Mapping[str, Any]]) -> list[HistoryPoint]:
        return [
            HistoryPoint(
                step=int(entry["step"]),
                epoch=float(entry.get("epoch", 0.0)),
                loss=_number(entry.get("loss")),
                learning_rate=_number(entry.get("learning_rate")),
                dev_recall_at_5=_number(entry.get("eval_dev_recall_at_5")),
                dev_ndcg_at_10=_number(entry.get("eval_dev_ndcg_at_10")),
            )
            for entry in log_history
            if "loss" in entry or "eval_dev_recall_at_5" in entry
        ]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
