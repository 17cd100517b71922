"""Blends lie between the two models, and at the ends are exactly one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import TrainingError
from domain_embed_pipeline.training.blending import blend
from domain_embed_pipeline_tests.tiny_model import build_tiny_model

TEXTS = ["a pump", "the valve opens"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("blend")
    return build_tiny_model(root / "base", TEXTS, seed=1), build_tiny_model(root / "tuned", TEXTS, seed=2)


@pytest.mark.parametrize(("weight", "like"), [(0.0, 0), (1.0, 1)])
def test_a_weight_of_zero_is_the_base_and_of_one_the_tuned_model(
    folders: tuple[str, str], weight: float, like: int
) -> None:
    blended = blend(load_model(folders[0]), load_model(folders[1]), tuned_weight=weight)
    expected = load_model(folders[like])
    for name, value in expected.state_dict().items():
        assert value.equal(blended.state_dict()[name]), name
    assert (blended.encode(TEXTS) == expected.encode(TEXTS)).all()


def test_half_is_the_mean_of_every_weight_and_neither_model_is_changed(folders: tuple[str, str]) -> None:
    base, tuned = load_model(folders[0]), load_model(folders[1])
    blended = blend(base, tuned, tuned_weight=0.5)
    name = next(name for name, value in base.state_dict().items() if value.is_floating_point())
    mean = (base.state_dict()[name] + tuned.state_dict()[name]) / 2
    assert blended.state_dict()[name].allclose(mean)
    assert (base.encode(TEXTS) == load_model(folders[0]).encode(TEXTS)).all()
    assert (tuned.encode(TEXTS) == load_model(folders[1]).encode(TEXTS)).all()


def test_models_of_another_architecture_are_refused(folders: tuple[str, str], tmp_path: Path) -> None:
    wider = build_tiny_model(tmp_path / "wide", TEXTS, width=64)
    with pytest.raises(TrainingError, match="cannot be blended"):
        blend(load_model(folders[0]), load_model(wider), tuned_weight=0.5)
