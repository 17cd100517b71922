"""Each trouble is recognised from figures that show it, and not from those that do not."""

from __future__ import annotations

import pytest

from domain_embed_pipeline.training.diagnoses import (
    DevMeasurement,
    diagnose_dev,
    diagnose_loss,
    diagnose_patience,
    diagnose_space,
)


def test_a_loss_that_stays_is_flat_and_the_cure_is_named() -> None:
    found = diagnose_loss([3.4, 3.5, 3.4, 3.45, 3.4, 3.5, 3.4, 3.45], batch_size=32)
    assert found is not None
    assert found.name == "loss_is_flat"
    assert "larger batches" in found.message


@pytest.mark.parametrize(
    "losses",
    [
        [3.4, 3.0, 2.8, 2.6, 2.4, 2.2, 2.1, 2.0],
        [0.02] * 8,
        [0.6] * 8,
        [3.4] * 7,
    ],
    ids=["falls", "solved from the start", "titles and their texts", "too few to tell"],
)
def test_other_losses_are_not_flat(losses: list[float]) -> None:
    assert diagnose_loss(losses, batch_size=32) is None


@pytest.mark.parametrize(("start", "now"), [(0.1, 0.97), (0.3, 0.91), (0.8, 0.96)])
def test_a_space_in_which_all_is_alike_has_collapsed(start: float, now: float) -> None:
    found = diagnose_space(start, now)
    assert found is not None
    assert found.name == "space_collapsed"
    assert "learning rate" in found.message


@pytest.mark.parametrize(("start", "now"), [(0.1, 0.5), (0.1, -0.1), (0.88, 0.92), (0.92, 0.91)])
def test_a_narrow_space_of_the_base_model_is_no_collapse(start: float, now: float) -> None:
    assert diagnose_space(start, now) is None


def measured(*gains: float, error: float = 0.01) -> list[DevMeasurement]:
    return [DevMeasurement(step, 0.5 + gain, gain, error) for step, gain in enumerate(gains, start=1)]


def test_dev_falls_when_it_is_under_the_start_twice_by_more_than_noise() -> None:
    found = diagnose_dev(measured(0.01, -0.05, -0.06))
    assert found is not None
    assert found.name == "dev_is_falling"
    assert "0.060 under" in found.message
    assert "near-duplicate" in found.message


@pytest.mark.parametrize(
    "measurements",
    [
        measured(-0.05),
        measured(-0.05, 0.0),
        measured(-0.05, -0.06, error=0.05),
        measured(-0.01, -0.015, error=0.001),
        [],
    ],
    ids=["once", "recovered", "noise", "tiny", "nothing"],
)
def test_dev_is_not_said_to_fall_for_less(measurements: list[DevMeasurement]) -> None:
    assert diagnose_dev(measurements) is None


def test_patience_ends_when_the_best_is_too_long_ago() -> None:
    assert diagnose_patience(measured(0.1, 0.3, 0.2, 0.2), patience=3) is None
    found = diagnose_patience(measured(0.1, 0.3, 0.2, 0.2, 0.3), patience=3)
    assert found is not None
    assert "at step 2" in found.message


def test_without_patience_training_goes_to_the_end() -> None:
    assert diagnose_patience(measured(0.3, *[0.1] * 50), patience=None) is None
