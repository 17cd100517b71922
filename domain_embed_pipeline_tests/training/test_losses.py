"""Each option of the loss changes what it says it changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder, load_model
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.training.fine_tuning import TrainedStage
from domain_embed_pipeline.training.losses import LossMaker
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of, train_planted, weights_of

ANCHORS = ["how is ask1 ask2", "how is ask3 ask4", "how is ask5 ask6"]
POSITIVES = ["tell1 tell2 is noted", "tell3 tell4 is noted", "tell5 tell6 is noted"]


def loss_of(folder: str, settings: TrainingSettings, *, mini_batch_size: int | None = None) -> float:
    """Loss of one batch of three pairs."""
    model = load_model(folder)
    maker = LossMaker(settings, negative_count=0, dimension=32)
    features = [model.preprocess(texts) for texts in (ANCHORS, POSITIVES)]
    return maker.make(model, mini_batch_size=mini_batch_size)(features, None).item()


def test_the_loss_is_that_of_the_softmax_over_the_batch(tiny_model: str) -> None:
    import numpy as np

    encoder = encoder_of(tiny_model)
    scores = 20 * encoder.encode_queries(ANCHORS) @ encoder.encode_passages(POSITIVES).T
    expected = np.mean([np.log(np.exp(row).sum()) - row[place] for place, row in enumerate(scores)])
    assert loss_of(tiny_model, QUICK) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"matryoshka_dimensions": (8,)}, {"scale": 50.0}])
def test_a_mini_batch_does_not_change_the_loss(tiny_model: str, options: dict) -> None:
    settings = dataclasses.replace(QUICK, **options)
    assert loss_of(tiny_model, settings, mini_batch_size=1) == pytest.approx(loss_of(tiny_model, settings), abs=1e-4)


@pytest.mark.parametrize("options", [{"symmetric": True}, {"matryoshka_dimensions": (8,)}, {"scale": 50.0}])
def test_each_option_changes_the_loss(tiny_model: str, options: dict) -> None:
    assert loss_of(tiny_model, dataclasses.replace(QUICK, **options)) != pytest.approx(loss_of(tiny_model, QUICK))


@pytest.mark.parametrize("mini_batch_size", [None, 1])
def test_a_guide_masks_what_it_finds_nearer_than_the_positive(tiny_model: str, mini_batch_size: int | None) -> None:
    # The untrained tiny model thinks some of the other passages nearer than the right one: those leave the softmax.
    guided = loss_of(tiny_model, dataclasses.replace(QUICK, guide_model=tiny_model), mini_batch_size=mini_batch_size)
    assert guided < loss_of(tiny_model, QUICK)


def test_a_guide_takes_one_mined_negative_only() -> None:
    settings = dataclasses.replace(QUICK, guide_model="guide")
    LossMaker(settings, negative_count=1, dimension=32)
    with pytest.raises(ConfigurationError, match=r"one mined negative a row, not 2.*negatives_per_pair to 1"):
        LossMaker(settings, negative_count=2, dimension=32)


@pytest.mark.parametrize("dimensions", [(0,), (32,), (8, 64)])
def test_matryoshka_dimensions_must_be_inside_the_models(dimensions: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="inside the model's 32"):
        LossMaker(dataclasses.replace(QUICK, matryoshka_dimensions=dimensions), negative_count=0, dimension=32)


def narrow_recall(stage: TrainedStage) -> float:
    return stage.dev_metrics["recall_at_5_of_4"]


@pytest.mark.parametrize("mini_batch_size", [None, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_matryoshka_makes_few_dimensions_useful(tiny_model: str, tmp_path: Path, mini_batch_size: int | None) -> None:
    from domain_embed_pipeline.training import dev_evaluator

    settings = dataclasses.replace(QUICK, epochs=6, mini_batch_size=mini_batch_size)
    nested = dataclasses.replace(settings, matryoshka_dimensions=(4,))
    trained = train_planted(tiny_model, tmp_path / "nested", nested)
    with pytest.MonkeyPatch.context() as patch:
        # The same measurement of a training that does not know of it.
        measure = dev_evaluator.DevMeter.__init__

        def narrow(self, spec, goal, sample, **options):  # noqa: ANN001, ANN003, ANN202
            measure(self, spec, goal, sample, dimensions=(4,))

        patch.setattr(dev_evaluator.DevMeter, "__init__", narrow)
        plain = train_planted(tiny_model, tmp_path / "plain", settings)
    assert narrow_recall(trained) > narrow_recall(plain) + 0.1
    assert trained.dev_metrics["recall_at_5"] > 0.6


def test_an_encoder_narrower_than_its_model_gives_the_first_dimensions(tiny_model: str) -> None:
    import numpy as np

    wide = encoder_of(tiny_model)
    narrow = SentenceTransformerEncoder(load_model(tiny_model), dataclasses.replace(wide.spec, dimension=4))
    first = wide.encode_queries(ANCHORS)[:, :4]
    assert narrow.encode_queries(ANCHORS).shape == (3, 4)
    assert np.allclose(narrow.encode_queries(ANCHORS), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.slow
def test_a_guided_training_learns(tiny_model: str, tmp_path: Path) -> None:
    teacher = train_planted(tiny_model, tmp_path / "teacher")
    teacher.model.save_pretrained(str(tmp_path / "guide"))
    settings = dataclasses.replace(QUICK, guide_model=str(tmp_path / "guide"))
    stage = train_planted(tiny_model, tmp_path / "guided", settings)
    assert stage.dev_metrics["recall_at_5"] > 0.6
    assert not weights_of(stage).allclose(weights_of(teacher), atol=1e-3)
