"""Several processes train the model that one would have trained on the same batches."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.errors import TrainingError
from domain_embed_pipeline.training.distributed import shares
from domain_embed_pipeline.training.fine_tuning import StageTask
from domain_embed_pipeline.training.launching import StageJob, run_stage, torchrun_command
from domain_embed_pipeline.training.rows import pair_rows
from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of, planted, weights_of


def job_for(folder: str, checkpoints: Path, *, processes: int) -> StageJob:
    settings = dataclasses.replace(QUICK, epochs=1, max_steps=6, num_processes=processes)
    rows = pair_rows(planted()[1], {})
    return StageJob(folder, StageTask(rows, settings, encoder_of(folder).spec, None, checkpoints))


def test_each_batch_is_shared_out_evenly_and_in_turn() -> None:
    assert shares([[1, 2, 3, 4], [5, 6, 7], [8]], 2) == [[1, 2], [3, 4], [5], [6]]
    assert shares([[1, 2, 3], [4]], 1) == [[1, 2, 3], [4]]


def test_two_processes_train_the_model_of_one(tiny_model: str, tmp_path: Path) -> None:
    one = run_stage(job_for(tiny_model, tmp_path / "one", processes=1))
    two = run_stage(job_for(tiny_model, tmp_path / "two", processes=2))
    assert two.schedule == one.schedule
    losses = [[point.loss for point in stage.history if point.loss is not None] for stage in (one, two)]
    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], abs=2e-4)
    # Rounding apart: Adam makes full steps of gradients that should be zero, which change no vector.
    texts = [pair.anchor for pair in planted()[1][:50]]
    assert abs(two.model.encode(texts) - one.model.encode(texts)).max() < 0.02
    assert (weights_of(one) - weights_of(two)).abs().mean() < 1e-3


@pytest.mark.slow
def test_a_process_that_fails_ends_the_training_with_its_last_words(tiny_model: str, tmp_path: Path) -> None:
    job = dataclasses.replace(job_for(tiny_model, tmp_path / "stage", processes=2), model_folder=str(tmp_path / "none"))
    with pytest.raises(TrainingError, match=r"(?s)exit code 1.*none"):
        run_stage(job)


def test_the_command_stays_on_this_machine() -> None:
    command = torchrun_command(4, "job", "result")
    assert {"--nproc-per-node=4", "--local-addr=127.0.0.1", "--standalone"} <= set(command)
    assert command[-2:] == ["job", "result"]
