"""Only complete checkpoints of the same training are gone on from."""

from __future__ import annotations

import os
import time
from pathlib import Path

from domain_embed_pipeline.training.checkpoints import open_checkpoints, remove_abandoned


def checkpoint(folder: Path, step: int, state: str | None = "{}") -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    if state is not None:
        (path / "trainer_state.json").write_text(state, encoding="utf-8")
    return path


def test_a_new_training_has_no_checkpoint(tmp_path: Path) -> None:
    assert open_checkpoints(tmp_path / "stage", "a") is None


def test_the_newest_is_taken_by_number_not_by_name(tmp_path: Path) -> None:
    open_checkpoints(tmp_path, "a")
    for step in (9, 100, 20):
        checkpoint(tmp_path, step)
    assert open_checkpoints(tmp_path, "a") == str(tmp_path / "checkpoint-100")


def test_one_that_a_kill_cut_short_is_passed_over(tmp_path: Path) -> None:
    open_checkpoints(tmp_path, "a")
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, state=None)
    checkpoint(tmp_path, 30, state='{"global_step": 3')
    assert open_checkpoints(tmp_path, "a") == str(tmp_path / "checkpoint-10")


def test_those_of_another_training_are_removed(tmp_path: Path) -> None:
    open_checkpoints(tmp_path, "a")
    checkpoint(tmp_path, 10)
    assert open_checkpoints(tmp_path, "b") is None
    assert list(tmp_path.glob("checkpoint-*")) == []


def test_a_folder_of_unknown_origin_is_not_trusted(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    assert open_checkpoints(tmp_path, "a") is None


def test_trainings_nobody_went_on_with_for_a_week_are_removed(tmp_path: Path) -> None:
    old, young = checkpoint(tmp_path / "old", 1), checkpoint(tmp_path / "young", 1)
    past = time.time() - 8 * 24 * 3600
    for path in (*old.rglob("*"), old, old.parent):
        os.utime(path, (past, past))
    assert remove_abandoned(tmp_path) == [tmp_path / "old"]
    assert young.is_dir()


def test_no_folder_of_checkpoints_is_nothing_to_remove(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "nothing") == []
