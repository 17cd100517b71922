"""A batch that would not fit into memory is computed in slices from the start."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.training.fine_tuning import StageTask, TrainedStage, fine_tune
from domain_embed_pipeline.training.room import activation_bytes
from domain_embed_pipeline.training.rows import pair_rows
from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of, planted, weights_of

SETTINGS = dataclasses.replace(QUICK, epochs=1, max_steps=3)
GIGABYTE = 1_000_000_000


def test_a_larger_batch_needs_in_proportion_more(tiny_model: str) -> None:
    model, rows = load_model(tiny_model), pair_rows(planted()[1], {})
    one, two = (
        activation_bytes(model, rows, dataclasses.replace(SETTINGS, batch_size=size, dropout=0.0)) for size in (8, 16)
    )
    assert two == pytest.approx(2 * one)
    assert one > 0


def test_with_little_free_memory_the_same_model_is_trained_in_slices(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trained(available: int) -> TrainedStage:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
        return fine_tune(
            load_model(tiny_model).double(),
            StageTask(
                pair_rows(planted()[1], {}), SETTINGS, encoder_of(tiny_model).spec, goal=None, folder=tmp_path / "stage"
            ),
        )

    with caplog.at_level(logging.INFO):
        roomy = trained(100 * GIGABYTE)
        assert "activations are computed again" not in caplog.text
        tight = trained(1_000)
    assert "activations are computed again" in caplog.text
    assert (weights_of(roomy) - weights_of(tight)).abs().max().item() < 1e-6
