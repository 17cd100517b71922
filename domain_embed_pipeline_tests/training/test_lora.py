"""Adapters are trained and merged; nobody else sees them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import MissingDependencyError
from domain_embed_pipeline.training import watching
from domain_embed_pipeline.training.blending import blend
from domain_embed_pipeline.training.lora import add_lora, merge_lora
from domain_embed_pipeline_tests.training.scenario import QUICK, train_planted, weights_of

SETTINGS = dataclasses.replace(QUICK, lora_rank=8, learning_rate=2e-2, epochs=4)
TEXTS = ["how is ask1 ask2", "tell3 is noted here"]


def test_without_peft_the_error_says_what_to_install(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"peft is not installed.*domain-embed-pipeline\[lora\]"):
        add_lora(load_model(tiny_model), 4)


def test_an_adapter_that_learned_nothing_changes_nothing(tiny_model: str) -> None:
    pytest.importorskip("peft")
    model = load_model(tiny_model)
    names, before = list(model.state_dict()), model.encode(TEXTS)
    add_lora(model, 4)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all("lora" in name for name in trainable)
    merge_lora(model)
    assert list(model.state_dict()) == names
    assert np.allclose(model.encode(TEXTS), before, atol=1e-6)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_adapters_learn_and_the_model_is_a_plain_one(tiny_model: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from sentence_transformers import SentenceTransformer

    stage = train_planted(tiny_model, tmp_path / "stage", SETTINGS)
    assert stage.dev_metrics["recall_at_5"] > 0.3
    base = load_model(tiny_model)
    assert stage.model.state_dict().keys() == base.state_dict().keys()
    word = "0.auto_model.embeddings.word_embeddings.weight"
    names = [name for name in base.state_dict() if "embeddings" in name]
    assert word.rpartition(".")[0].rpartition(".")[2] in " ".join(names)
    assert all(stage.model.state_dict()[name].equal(base.state_dict()[name]) for name in names), "frozen"
    stage.model.save_pretrained(str(tmp_path / "saved"))
    assert not list((tmp_path / "saved").glob("adapter*"))
    assert (SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(TEXTS) == stage.model.encode(TEXTS)).all()
    assert np.allclose(blend(base, stage.model, tuned_weight=1.0).encode(TEXTS), stage.model.encode(TEXTS))


class InterruptedTrainingError(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_training_of_adapters_goes_on(tiny_model: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    expected = train_planted(tiny_model, tmp_path / "undisturbed", SETTINGS)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedTrainingError):

        def on_log(self: watching.Watch, step: int, logs: object) -> None:
            if step >= 18:
                raise InterruptedTrainingError

        patch.setattr(watching.Watch, "on_log", on_log)
        train_planted(tiny_model, tmp_path / "killed", SETTINGS)
    resumed = train_planted(tiny_model, tmp_path / "killed", SETTINGS)
    assert (weights_of(resumed) - weights_of(expected)).abs().max().item() <= 1e-5
    assert resumed.best_step == expected.best_step
