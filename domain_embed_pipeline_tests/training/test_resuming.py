"""A training that is killed goes on where it was and ends where it would have."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from domain_embed_pipeline.training import watching
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.tiny_model import build_tiny_model, planted_words
from domain_embed_pipeline_tests.training.scenario import QUICK, train_planted, weights_of

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model_with_dropout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dropout makes the state of the random generators matter."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "dropout", planted_words(), dropout=0.1)


class InterruptedTrainingError(Exception):
    pass


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    def on_log(self: watching.Watch, now: int, logs: object) -> None:
        if now >= step:
            raise InterruptedTrainingError

    monkeypatch.setattr(watching.Watch, "on_log", on_log)


@pytest.mark.parametrize(("step", "epochs"), [(3, 1.0), pytest.param(13, 1.5, marks=pytest.mark.slow)])
def test_an_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(
    model_with_dropout: str, tmp_path: Path, step: int, epochs: float
) -> None:
    settings = dataclasses.replace(QUICK, epochs=epochs, evaluations_per_epoch=5)
    expected = train_planted(model_with_dropout, tmp_path / "undisturbed", settings)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedTrainingError):
        interrupt_at(patch, step)
        train_planted(model_with_dropout, tmp_path / "killed", settings)
    assert sorted(path.name for path in (tmp_path / "killed").glob("checkpoint-*"))
    resumed = train_planted(model_with_dropout, tmp_path / "killed", settings)
    assert (weights_of(resumed) - weights_of(expected)).abs().max().item() <= TOLERANCE
    assert resumed.best_step == expected.best_step
    assert [point.step for point in resumed.history] == [point.step for point in expected.history]


@pytest.mark.slow
def test_checkpoints_of_other_settings_are_not_gone_on_from(
    tiny_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedTrainingError):
        interrupt_at(patch, 7)
        train_planted(tiny_model, tmp_path / "stage")
    other = dataclasses.replace(QUICK, learning_rate=1e-3)
    resumed = train_planted(tiny_model, tmp_path / "stage", other)
    assert "other rows, settings or libraries" in caplog.text
    assert weights_of(resumed).equal(weights_of(train_planted(tiny_model, tmp_path / "clean", other)))


@pytest.mark.slow
def test_disk_holds_the_best_and_the_newest_checkpoint_only(tiny_model: str, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        on_log = watching.Watch.on_log

        def count(self: watching.Watch, step: int, logs: dict) -> None:
            seen.append(len(list((tmp_path / "stage").glob("checkpoint-*"))))
            on_log(self, step, logs)

        patch.setattr(watching.Watch, "on_log", count)
        train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, evaluations_per_epoch=5))
    assert max(seen) == 2


@pytest.mark.slow
def test_kill_9_at_five_steps_costs_nothing_but_time(model_with_dropout: str, tmp_path: Path) -> None:
    steps = ["2", "5", "11", "17", "29"]
    command = [
        sys.executable,
        "-m",
        "domain_embed_pipeline_tests.training.interrupted",
        model_with_dropout,
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *steps], capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["step"] for row in rows] == [2, 5, 11, 17, 29]
    assert {row["resumed_from"] for row in rows} - {0}
    assert max(row["difference"] for row in rows) <= TOLERANCE, rows
