"""Settings of training and the written rule that scales them to the model and the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.encoding.hardware import Precision

TRAINING_VERSION = "6"
"""Moves when the same settings would give other weights."""

MINIMUM_PAIRS = 100
FEW_PAIRS = 1_000


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a stage is trained. `None` means: by the rule below."""

    learning_rate: float | None = None
    """Peak learning rate. Too low under-trains a small model, too high collapses a large one."""
    epochs: float | None = None
    """Passes over the pairs. More than the rule gives fits the questions, not the domain."""
    anchors_per_row: int = 1
    """Questions of one passage that are ranked in one step. The passage is encoded once for all of them, which is most
    of the work: more learn faster, and overfit sooner. The guided loss takes no more than 1."""
    batch_size: int = 64
    """Pairs a batch: each sees batch_size - 1 in-batch negatives."""
    warmup_ratio: float = 0.1
    scale: float = 20.0
    """Inverse temperature of the loss."""
    max_length: int = 160
    """Tokens of a text seen in training; longer passages are cut, which costs little and saves much time."""
    symmetric: bool = False
    """Also rank anchors for each positive."""
    weight_decay: float = 0.01
    dropout: float | None = 0.0
    """Share of activations left out at random while training; None for the model's own, mostly 0.1. One or two passes
    over the pairs do not overfit for want of it (docs/measurements.md), and 0 is faster and needs less memory."""
    seed: int = 42
    evaluations_per_epoch: int = 2
    """Dev retrieval measurements an epoch; the best checkpoint is kept."""
    max_steps: int = -1
    """Ceiling on steps; -1 for none. A smoke test uses 1."""
    mini_batch_size: int | None = None
    """When set, so many texts at most are in memory at a time; negatives stay those of batch_size. When memory
    runs out, training sets and halves it by itself."""
    precision: Precision = "auto"
    """Arithmetic of the forward pass in training; weights are float32 in any case."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    patience: int | None = 3
    """Stop after so many dev measurements without a new best; None trains to the end."""
    max_minutes: float | None = None
    """Stop after so much time, with the best checkpoint so far."""
    averaged_seeds: int = 1
    """Train with so many seeds and average the weights: steadier, at that many times the cost."""
    matryoshka_dimensions: tuple[int, ...] = ()
    """Make the first so many dimensions of a vector useful on their own (arXiv 2205.13147); dev Recall@5 is measured
    at each."""
    lora_rank: int | None = None
    """Train low-rank adapters of this rank and merge them: little memory for large models. They want a learning rate
    several times that of the rule."""
    num_processes: int = 1
    """Processes of `torchrun` that share each batch, one a GPU. The loss is that of the whole batch."""
    guide_model: str | None = None
    """Base model that masks what it thinks are false negatives in a batch (GISTEmbed, arXiv 2402.16829)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the rule made of the settings."""

    learning_rate: float
    epochs: float
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    evaluation_steps: int


def learning_rate_for(parameter_count: int) -> float:
    """Peak learning rate by model size: 8e-5 at 22M parameters, falling with the square root of the size.

    22M: 8.0e-5, 33M: 6.5e-5, 109M: 3.6e-5, 335M: 2.1e-5; never under 1e-5. Measured for 22M only
    (docs/measurements.md: 6e-5 and 1e-4 are equal, 2e-4 loses); the larger sizes follow common practice.
    """
    return max(1e-5, 8e-5 * math.sqrt(22e6 / max(parameter_count, 22e6)))


def epochs_for(pair_count: int, row_count: int | None = None) -> float:
    """Epochs by number of pairs: three under 1,000, two under 3,000, else one.

    Rows of several anchors are fewer than pairs and get as many more epochs, so that the number of steps stays: what
    has to be seen often enough is the passage.
    """
    passes = 3.0 if pair_count < FEW_PAIRS else 2.0 if pair_count < 3 * FEW_PAIRS else 1.0
    return passes * pair_count / (row_count or pair_count)


def schedule_for(
    settings: TrainingSettings,
    *,
    row_count: int,
    parameter_count: int,
    epochs: float | None = None,
    total_steps: int | None = None,
) -> Schedule:
    """Fill in what the settings leave to the rule.

    Args:
        settings: What is given stays.
        row_count: Rows to train on.
        parameter_count: Size of the model.
        epochs: Passes over the rows; by the settings or the rule when not given.
        total_steps: Number of planned batches; from full batches when not given.
    """
    if epochs is None:
        epochs = settings.epochs if settings.epochs is not None else epochs_for(row_count)
    total = total_steps or max(1, math.ceil(row_count * epochs / settings.batch_size))
    steps_per_epoch = max(1, math.ceil(total / epochs))
    if settings.max_steps > 0:
        total = min(total, settings.max_steps)
    rate = settings.learning_rate if settings.learning_rate is not None else learning_rate_for(parameter_count)
    return Schedule(
        learning_rate=rate,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        warmup_steps=math.ceil(total * settings.warmup_ratio),
        evaluation_steps=max(1, math.ceil(min(steps_per_epoch, total) / settings.evaluations_per_epoch)),
    )


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Which chunks become hard negatives."""

    negatives_per_pair: int = 1
    first_rank: int = 1
    """Ranks before this one (the positive's own cluster left out) are skipped as probably relevant."""
    last_rank: int = 50
    relative_margin: float = 0.05
    """A negative's score must be under (1 - margin) of the positive's score (NV-Retriever, arXiv 2407.15831)."""
    exclude_same_document: bool = True
    """Leave out chunks that share a document with the positive: neighbours often answer too."""
    sampling: Literal["top", "random"] = "random"
    """Hardest first, or evenly from the window."""
    seed: int = 42


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """How the candidate is chosen on dev."""

    blend_weights: tuple[float, ...] = (0.5, 0.75)
    """Shares of the tuned weights in blends with the base (LM-Cocktail, arXiv 2311.13534)."""
    simplicity_tolerance: float = 1.0
    """Standard errors of the paired difference within which the simpler model wins."""
    guard_tolerance: float = 0.03
    """Among those, a model is set aside whose nDCG@10 on the guard sets is further than this under the best of them;
    1 leaves general ability out of the choice."""
    pool_size: int = 2_000
    """Chunks in the dev pool. A larger corpus is represented by every relevant chunk, the base model's nearest
    chunks of every dev query, and a seeded sample."""
