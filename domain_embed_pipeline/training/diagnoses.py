"""What can go wrong in a training, recognised from what is measured while it runs, each with its cure.

Pure functions of what was logged, so that a resumed training comes to the same conclusions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLAT_SHARE = 0.98
"""The loss is flat when its last quarter's mean is over this share of the first quarter's."""
_FEWEST_LOSSES = 8
_SOLVED_SHARE = 0.25
"""A loss under this share of chance, ln(batch size), may stay: titles name their texts from the start (0.22 in batches
of 64), and retrieval gains from them nevertheless (docs/measurements.md)."""
COLLAPSED_COSINE = 0.9
_COLLAPSED_SHARE = 0.75
"""Part of the way to 1 that the mean cosine must have gone: base models differ, e5's is about 0.75 at the start."""
FALLING_ERRORS = 2.0
_FALLING_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A trouble that was recognised."""

    name: str
    """`loss_is_flat`, `space_collapsed`, `dev_is_falling`, `no_improvement` or `time_is_up`."""
    message: str
    """What was seen, and the cure."""


@dataclass(frozen=True, slots=True)
class DevMeasurement:
    """One dev measurement in training."""

    step: int
    selection: float
    """Mean of Recall@5 and nDCG@10."""
    gain: float
    """Selection minus that of the model training started from, query by query."""
    gain_error: float
    """Standard error of the gain."""


def diagnose_loss(losses: Sequence[float], *, batch_size: int) -> Diagnosis | None:
    """Whether the loss does not fall.

    Args:
        losses: Mean loss of equal stretches of steps, warm-up left out, oldest first.
        batch_size: Rows of a batch; chance is a loss of ln(batch_size).
    """
    if len(losses) < _FEWEST_LOSSES:
        return None
    quarter = len(losses) // 4
    first, last = _mean(losses[:quarter]), _mean(losses[-quarter:])
    if last < FLAT_SHARE * first or first < _SOLVED_SHARE * math.log(max(2, batch_size)):
        return None
    return Diagnosis(
        "loss_is_flat",
        f"The loss does not fall: {first:.3f} at first, {last:.3f} now, with batches of {batch_size}. Use larger "
        "batches (64 or 128; a mini_batch_size keeps memory small), a higher learning rate, or clean the pairs: "
        "anchors that do not belong to their positives cannot be learned.",
    )


def diagnose_space(start_cosine: float, cosine: float) -> Diagnosis | None:
    """Whether all texts come to lie together.

    Args:
        start_cosine: Mean pairwise cosine of a fixed sample of passages before training.
        cosine: The same now.
    """
    if cosine < COLLAPSED_COSINE or cosine - start_cosine < _COLLAPSED_SHARE * (1 - start_cosine):
        return None
    return Diagnosis(
        "space_collapsed",
        f"The space collapses: the mean cosine between unrelated passages rose from {start_cosine:.2f} to "
        f"{cosine:.2f}. Lower the learning rate, train fewer epochs, and see that batches hold different documents.",
    )


def diagnose_dev(measurements: Sequence[DevMeasurement]) -> Diagnosis | None:
    """Whether dev retrieval is under that of the starting model, twice in a row and by more than noise."""
    if len(measurements) < 2 or not all(_is_worse(measured) for measured in measurements[-2:]):
        return None
    gain, error = measurements[-1].gain, measurements[-1].gain_error
    return Diagnosis(
        "dev_is_falling",
        f"Dev retrieval is {-gain:.3f} under that of the starting model (standard error {error:.3f}). Look for noisy "
        "or near-duplicate pairs, tables of contents, boilerplate and texts under 30 characters, or lower the "
        "learning rate.",
    )


def diagnose_patience(measurements: Sequence[DevMeasurement], *, patience: int | None) -> Diagnosis | None:
    """Whether the last `patience` dev measurements brought no new best."""
    if patience is None or len(measurements) <= patience:
        return None
    best = max(measurements, key=lambda measured: (measured.selection, -measured.step))
    if best not in measurements[:-patience]:
        return None
    return Diagnosis(
        "no_improvement",
        f"No new best on dev in {patience} measurements; the best, {best.selection:.3f}, was at step {best.step}.",
    )


def _is_worse(measured: DevMeasurement) -> bool:
    return measured.gain < -max(_FALLING_FLOOR, FALLING_ERRORS * measured.gain_error)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
