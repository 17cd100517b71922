"""Curves that TensorBoard itself can read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import MissingDependencyError
from domain_embed_pipeline.training.dev_set import DevGoal, score_on_dev
from domain_embed_pipeline.training.fine_tuning import StageTask, fine_tune
from domain_embed_pipeline.training.rows import pair_rows
from domain_embed_pipeline.training.tensorboard import tensorboard_callback
from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of, planted, planted_dev


def test_loss_rate_and_dev_recall_are_read_by_tensorboard(tiny_model: str, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    encoder, dev = encoder_of(tiny_model), planted_dev(tiny_model)
    fine_tune(
        load_model(tiny_model),
        StageTask(
            pair_rows(planted()[1], {}),
            dataclasses.replace(QUICK, epochs=1, max_steps=4),
            encoder.spec,
            goal=DevGoal(dev, score_on_dev(encoder, dev)),
            folder=tmp_path / "stage",
            curves=tmp_path / "curves",
        ),
    )
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/learning_rate"} <= set(tags)
    (recall,) = (tag for tag in tags if "recall_at_5" in tag)
    assert events.Scalars(recall)[-1].step == 4


def test_without_the_package_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="DOMAIN_EMBED_TENSORBOARD_PATH"):
        tensorboard_callback(tmp_path)
