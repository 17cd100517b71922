"""sentence-transformers' trainer as a stage uses it: arguments, and what it does when memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.hardware import choose_dtype, is_out_of_memory
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import ConfigurationError, TrainingMemoryError
from domain_embed_pipeline.training.checkpoints import KEPT
from domain_embed_pipeline.training.dev_evaluator import BEST_METRIC, DevMeter, as_evaluator
from domain_embed_pipeline.training.distributed import is_distributed, shares, world_size
from domain_embed_pipeline.training.dropout import set_dropout
from domain_embed_pipeline.training.losses import LossMaker
from domain_embed_pipeline.training.room import fits
from domain_embed_pipeline.training.rows import TrainingRow, dataset_of, negative_count, sibling_count
from domain_embed_pipeline.training.sampler import PlannedSampling
from domain_embed_pipeline.training.settings import Schedule, TrainingSettings
from domain_embed_pipeline.training.watching import Watch, watching_callback

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

LOGGED_LOSSES = 50
_GPU_WORKERS = 4


@dataclass(frozen=True, slots=True)
class TrainerPlan:
    """Everything a trainer is made from."""

    settings: TrainingSettings
    schedule: Schedule
    spec: EncoderSpec
    rows: Sequence[TrainingRow]
    batches: Sequence[list[int]]
    meter: DevMeter
    judged: bool
    """Whether dev chooses the checkpoint."""
    folder: Path


def training_precision(device: str, settings: TrainingSettings) -> str:
    """Arithmetic of the forward pass in training on this device.

    Raises:
        ConfigurationError: For float16 without a GPU, where gradients cannot be scaled.
    """
    precision = choose_dtype(device, settings.precision)
    if precision == "float16" and not device.startswith("cuda"):
        raise ConfigurationError(
            f"Training in float16 on {device} is not possible.", fix="Set precision to float32, bfloat16 or auto."
        )
    return precision


def make_trainer(model: SentenceTransformer, plan: TrainerPlan, watch: Watch) -> Any:
    """The trainer of one stage."""
    from transformers import PrinterCallback

    if plan.settings.dropout is not None:
        set_dropout(model, plan.settings.dropout)
    if plan.settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    losses = LossMaker(
        plan.settings,
        negative_count=negative_count(plan.rows),
        dimension=plan.spec.dimension,
        sibling_count=sibling_count(plan.rows),
    )
    trainer = _trainer_class()(
        model=model,
        args=_arguments(str(model.device), plan),
        train_dataset=dataset_of(plan.rows),
        loss=losses.make(model, mini_batch_size=_mini_batch_size(model, plan)),
        evaluator=as_evaluator(plan.meter),
        callbacks=[watching_callback(watch)],
    )
    trainer.make_room = _back_off(trainer, losses, plan.settings, watch)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _mini_batch_size(model: SentenceTransformer, plan: TrainerPlan) -> int | None:
    """That of the settings; where a batch's activations would not fit, the batch in slices that are computed again."""
    settings = plan.settings
    if settings.mini_batch_size is not None or fits(model, plan.rows, settings):
        return settings.mini_batch_size
    logger.info("Free memory is short for a batch of %d: activations are computed again.", settings.batch_size)
    return settings.batch_size


def _arguments(device: str, plan: TrainerPlan) -> Any:
    from sentence_transformers import SentenceTransformerTrainingArguments

    settings, schedule, on_gpu = plan.settings, plan.schedule, device.startswith("cuda")
    precision = training_precision(device, settings)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(plan.folder),
        num_train_epochs=1,  # the plan of batches is all epochs in one pass
        per_device_train_batch_size=max(1, settings.batch_size // world_size()),
        accelerator_config={"even_batches": False},  # the plan's batches are all there is
        optim="adamw_torch_fused",
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        weight_decay=settings.weight_decay,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=not on_gpu,
        prompts=_prompts(plan),
        batch_sampler=PlannedSampling(shares(plan.batches, world_size())),  # pyright: ignore[reportArgumentType]
        eval_strategy="steps",
        eval_steps=schedule.evaluation_steps,
        save_strategy="steps",
        save_steps=schedule.evaluation_steps,
        save_total_limit=KEPT,
        load_best_model_at_end=plan.judged,
        metric_for_best_model=BEST_METRIC if plan.judged else None,
        greater_is_better=True if plan.judged else None,
        logging_steps=max(1, schedule.total_steps // LOGGED_LOSSES),
        logging_nan_inf_filter=False,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
        dataloader_num_workers=_GPU_WORKERS if on_gpu else 0,
    )
    # With several GPUs in sight transformers would wrap the model in DataParallel, whose slices of a batch are not
    # the planned ones; several GPUs are for torchrun.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _prompts(plan: TrainerPlan) -> dict[str, str] | None:
    """The encoder's prompts by column; sentence-transformers leaves them out of the pooling where the model does."""
    columns = {"anchor": plan.spec.query_prompt, "positive": plan.spec.passage_prompt}
    columns |= {f"negative_{index + 1}": plan.spec.passage_prompt for index in range(negative_count(plan.rows))}
    columns |= {f"sibling_{index + 1}": plan.spec.query_prompt for index in range(sibling_count(plan.rows))}
    return {column: prompt for column, prompt in columns.items() if prompt} or None


def _back_off(trainer: Any, losses: LossMaker, settings: TrainingSettings, watch: Watch) -> Callable[[str], None]:
    """A function that halves the mini-batch; the logical batch, and so the loss, stay as they are."""
    current = settings.mini_batch_size or settings.batch_size

    def halve(reason: str) -> None:
        """Halve what is computed at a time, and say so; raises when it cannot be halved."""
        nonlocal current
        if is_distributed():
            raise TrainingMemoryError(
                f"Memory ran out in one of several processes: {reason}",
                fix="Set mini_batch_size: the others cannot wait for one that tries again.",
            )
        if current == 1:
            raise TrainingMemoryError(
                f"Memory runs out even with one text at a time: {reason}",
                fix="Set gradient_checkpointing, a smaller max_length or a smaller base model.",
            )
        current //= 2
        note = f"out_of_memory: from step {trainer.state.global_step + 1} on, {current} texts are computed at a time."
        logger.warning("Memory ran out: %s The batch of %d is unchanged.", note, settings.batch_size)
        watch.notes.append(note)
        trainer.loss = trainer.prepare_loss(losses.make(trainer.model, mini_batch_size=current), trainer.model)

    return halve


def _trainer_class() -> Any:
    import torch
    from sentence_transformers import SentenceTransformerTrainer

    class MemoryAwareTrainer(SentenceTransformerTrainer):
        """Tries a step again with less at a time when its memory runs out."""

        make_room: Callable[[str], None]

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """None: it prints a progress bar and quotes training texts; the registry writes the card."""

        def _load_best_model(self) -> None:
            """As upstream, which however logs a failure and goes on with the last weights."""
            if self.state.best_model_checkpoint is not None:
                self._load_from_checkpoint(self.state.best_model_checkpoint)

        def training_step(
            self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
        ) -> torch.Tensor:
            """One step; a step that runs out of memory is taken again from the same random state."""
            while True:
                random_state = _random_state()
                try:
                    return super().training_step(model, inputs, num_items_in_batch)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    reason = str(error)
                # Outside the except block, where the traceback would keep the failed step's tensors alive.
                model.zero_grad()
                gc.collect()
                torch.cuda.empty_cache()
                self.make_room(reason)
                _set_random_state(random_state)

    return MemoryAwareTrainer


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    import torch

    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
