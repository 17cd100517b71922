"""A machine that runs out of memory trains the same model, more slowly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.encoding.hardware import is_out_of_memory
from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import TrainingMemoryError
from domain_embed_pipeline.training.fine_tuning import StageTask, TrainedStage, fine_tune
from domain_embed_pipeline.training.rows import pair_rows
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of, planted, weights_of

SETTINGS = dataclasses.replace(QUICK, epochs=1, max_steps=5)
TOLERANCE = 1e-6
"""In double precision. In single precision sums in another order differ by 1e-7, and Adam turns a gradient that should
be zero (that of the attention's key bias is) into steps of full length, which change no vector."""
VECTOR_TOLERANCE = 0.01
"""In single precision, of components of unit vectors that training turned right round."""


def train(
    folder: str,
    checkpoints: Path,
    settings: TrainingSettings = SETTINGS,
    *,
    room_for: int | None = None,
    double: bool = True,
) -> TrainedStage:
    """Train on a machine whose memory holds `room_for` texts of a training step."""
    import torch

    model = load_model(folder)
    if double:
        model = model.double()

    def allocate(module: Any, arguments: tuple[dict[str, Any], ...]) -> None:
        # Evaluation needs no memory for gradients.
        if room_for is not None and torch.is_grad_enabled() and len(arguments[0]["input_ids"]) > room_for:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model[0].register_forward_pre_hook(allocate)
    _, pairs, _ = planted()
    return fine_tune(
        model, StageTask(pair_rows(pairs, {}), settings, encoder_of(folder).spec, goal=None, folder=checkpoints)
    )


@pytest.fixture(scope="module")
def undisturbed(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> TrainedStage:
    return train(tiny_model, tmp_path_factory.mktemp("undisturbed") / "stage")


@pytest.mark.parametrize(("room_for", "mini_batch"), [(20, 16), (5, 4), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_the_mini_batch_is_halved_until_it_fits_and_the_weights_are_the_same(
    undisturbed: TrainedStage, tiny_model: str, tmp_path: Path, room_for: int, mini_batch: int
) -> None:
    stage = train(tiny_model, tmp_path / "stage", room_for=room_for)
    assert stage.notes[-1] == f"out_of_memory: from step 1 on, {mini_batch} texts are computed at a time."
    assert stage.schedule == undisturbed.schedule
    assert largest_difference(stage, undisturbed) < TOLERANCE


def largest_difference(one: TrainedStage, other: TrainedStage) -> float:
    return (weights_of(one) - weights_of(other)).abs().max().item()


@pytest.mark.slow
def test_in_single_precision_the_vectors_are_the_same(tiny_model: str, tmp_path: Path) -> None:
    stage = train(tiny_model, tmp_path / "stage", room_for=5, double=False)
    undisturbed = train(tiny_model, tmp_path / "undisturbed", double=False)
    texts = [pair.anchor for pair in planted()[1][:100]]
    base = load_model(tiny_model).encode(texts)
    vectors, expected = stage.model.encode(texts), undisturbed.model.encode(texts)
    assert abs(vectors - expected).max() < VECTOR_TOLERANCE < abs(base - expected).max() / 10


def test_memory_that_runs_out_at_one_text_is_a_clear_error(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingMemoryError, match=r"even with one text at a time.*gradient_checkpointing"):
        train(tiny_model, tmp_path / "stage", room_for=0)


def test_a_mini_batch_that_was_given_is_where_halving_starts(
    undisturbed: TrainedStage, tiny_model: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, mini_batch_size=8)
    stage = train(tiny_model, tmp_path / "stage", settings, room_for=4)
    assert [note.split(" on, ")[1] for note in stage.notes] == ["4 texts are computed at a time."]
    assert largest_difference(stage, undisturbed) < TOLERANCE


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny_model: str, tmp_path: Path) -> None:
    model = load_model(tiny_model)

    def fail(module: Any, arguments: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    spec = encoder_of(tiny_model).spec
    hook = model[0].register_forward_pre_hook(fail)
    _, pairs, _ = planted()
    with pytest.raises(RuntimeError, match="mat1"):
        fine_tune(model, StageTask(pair_rows(pairs, {}), SETTINGS, spec, goal=None, folder=tmp_path / "stage"))
    hook.remove()


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (MemoryError(), False),
    ],
    ids=["cpu", "gpu", "shapes", "python"],
)
def test_errors_that_mean_a_lack_of_memory(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory
