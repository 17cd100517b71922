"""A stage from its rows to its model, on a real model that is tiny."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import ConfigurationError, TooFewPairsError, TrainingDivergedError
from domain_embed_pipeline.training.dev_set import DevGoal, score_on_dev
from domain_embed_pipeline.training.fine_tuning import StageTask, TrainedStage, fine_tune
from domain_embed_pipeline.training.rows import TrainingRow, pair_rows
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline_tests.training.scenario import (
    QUICK,
    encoder_of,
    planted,
    planted_dev,
    train_planted,
    weights_of,
)


@pytest.fixture(scope="module")
def trained(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> TrainedStage:
    return train_planted(tiny_model, tmp_path_factory.mktemp("trained") / "stage")


def losses_of(stage: TrainedStage) -> list[float]:
    return [point.loss for point in stage.history if point.loss is not None]


def recalls_of(stage: TrainedStage) -> list[tuple[int, float]]:
    return [(point.step, point.dev_recall_at_5) for point in stage.history if point.dev_recall_at_5 is not None]


def test_the_loss_falls_and_dev_recall_rises(trained: TrainedStage) -> None:
    losses, recalls = losses_of(trained), recalls_of(trained)
    assert losses[-1] < losses[0] / 4
    assert recalls[0] == (0, 0.0)
    assert recalls[-1][1] > 0.6


def test_dev_is_measured_before_and_several_times_an_epoch_and_at_the_end(trained: TrainedStage) -> None:
    assert [step for step, _ in recalls_of(trained)] == [0, 5, 10, 15, 20, 25, 30]
    assert trained.schedule.total_steps == 30


def test_the_model_is_that_of_the_best_checkpoint(trained: TrainedStage, tiny_model: str) -> None:
    from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder

    score = score_on_dev(
        SentenceTransformerEncoder(trained.model, encoder_of(tiny_model).spec), planted_dev(tiny_model)
    )
    assert score.means()["recall_at_5"] == dict(recalls_of(trained))[trained.best_step]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    trained: TrainedStage, tiny_model: str, tmp_path: Path
) -> None:
    again = train_planted(tiny_model, tmp_path / "again")
    other = train_planted(tiny_model, tmp_path / "other", dataclasses.replace(QUICK, seed=7))
    assert weights_of(again).equal(weights_of(trained))
    assert not weights_of(other).allclose(weights_of(trained), atol=1e-3)


def test_checkpoints_are_gone_and_the_length_is_the_models_own_again(tiny_model: str, tmp_path: Path) -> None:
    stage = train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, max_steps=1, max_length=8))
    assert list(tmp_path.iterdir()) == []
    assert stage.model.max_seq_length == 64


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 5), (1.25, 13), (0.05, 1)])
def test_a_fraction_of_an_epoch_is_trained_evaluated_and_saved(
    tiny_model: str, tmp_path: Path, epochs: float, steps: int
) -> None:
    settings = dataclasses.replace(QUICK, epochs=epochs, evaluations_per_epoch=3)
    stage = train_planted(tiny_model, tmp_path / "stage", settings)
    assert recalls_of(stage)[-1][0] == stage.schedule.total_steps == steps


def test_without_dev_queries_the_last_step_is_taken(tiny_model: str, tmp_path: Path) -> None:
    stage = train_planted(tiny_model, tmp_path / "stage", judged=False)
    assert (stage.best_step, recalls_of(stage)) == (30, [])
    assert losses_of(stage)[-1] < 1


@pytest.mark.slow
def test_the_last_steps_weights_differ_from_an_earlier_best(tiny_model: str, tmp_path: Path) -> None:
    """Later epochs at a ruinous rate: dev keeps the early checkpoint, a training without dev ends at the ruin."""
    settings = dataclasses.replace(QUICK, learning_rate=0.3, warmup_ratio=0.9, epochs=4)
    judged = train_planted(tiny_model, tmp_path / "judged", settings)
    blind = train_planted(tiny_model, tmp_path / "blind", settings, judged=False)
    assert judged.best_step < judged.history[-1].step
    assert not weights_of(judged).allclose(weights_of(blind), atol=1e-3)


def test_too_few_pairs_are_refused_with_advice(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TooFewPairsError, match=r"99 training pairs.*Fix: Add documents"):
        train_planted(tiny_model, tmp_path / "stage", train_count=99)


def test_few_pairs_are_warned_about(tiny_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, max_steps=1), train_count=100)
    assert "Only 100 training pairs" in caplog.text


def test_a_loss_that_is_not_finite_raises_and_leaves_no_checkpoint_to_repeat_it(
    tiny_model: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, learning_rate=1e30))
    assert list(tmp_path.iterdir()) == []


def notes_of(stage: TrainedStage) -> list[str]:
    return [note.partition(":")[0] for note in stage.notes]


def test_a_learning_rate_that_is_far_too_low_is_recognised(tiny_model: str, tmp_path: Path) -> None:
    stage = train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, learning_rate=1e-9))
    assert notes_of(stage) == ["loss_is_flat"]
    assert stage.history[-1].step < 30


@pytest.mark.parametrize("judged", [True, False], ids=["with dev queries", "without"])
def test_a_learning_rate_that_is_far_too_high_collapses_the_space(
    tiny_model: str, tmp_path: Path, judged: bool
) -> None:
    settings = dataclasses.replace(QUICK, learning_rate=1.0)
    stage = train_planted(tiny_model, tmp_path / "stage", settings, judged=judged)
    assert notes_of(stage) == ["space_collapsed"]
    assert stage.history[-1].step < 30


def train_on_wrong_pairs(
    trained: TrainedStage, tiny_model: str, folder: Path, settings: TrainingSettings
) -> TrainedStage:
    """Go on from a good model with every anchor beside another one's passage."""
    import copy

    from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder

    spec = encoder_of(tiny_model).spec
    _, pairs, _ = planted()
    rows = pair_rows(pairs, {})
    wrong = [
        TrainingRow(row.anchor, other.positive, (), row.groups)
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    model = copy.deepcopy(trained.model)
    dev = planted_dev(tiny_model)
    goal = DevGoal(dev, score_on_dev(SentenceTransformerEncoder(model, spec), dev))
    return fine_tune(model, StageTask(wrong, settings, spec, goal=goal, folder=folder))


def test_dev_retrieval_that_falls_under_the_start_stops_training(
    trained: TrainedStage, tiny_model: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(QUICK, learning_rate=5e-4, epochs=20)
    stage = train_on_wrong_pairs(trained, tiny_model, tmp_path / "stage", settings)
    assert notes_of(stage) == ["dev_is_falling"]
    assert stage.history[-1].step < 100


def test_patience_stops_training_and_keeps_the_best(trained: TrainedStage, tiny_model: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, learning_rate=1e-4, epochs=20, patience=1)
    stage = train_on_wrong_pairs(trained, tiny_model, tmp_path / "stage", settings)
    assert notes_of(stage) in (["no_improvement"], ["dev_is_falling"])
    assert stage.best_step < stage.history[-1].step


def test_the_time_that_was_given_is_kept(tiny_model: str, tmp_path: Path) -> None:
    stage = train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, max_minutes=1e-9))
    assert notes_of(stage) == ["time_is_up"]
    assert recalls_of(stage)[-1][0] == 1


def test_float16_without_a_gpu_is_refused(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="float16 on cpu"):
        train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, precision="float16"))


@pytest.mark.slow
def test_bfloat16_on_a_cpu_trains_float32_weights(tiny_model: str, tmp_path: Path) -> None:
    import torch

    stage = train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, precision="bfloat16"))
    assert {weight.dtype for weight in stage.model.parameters()} == {torch.float32}
    assert losses_of(stage)[-1] < 1


@pytest.mark.slow
def test_gradient_checkpointing_gives_the_same_weights(trained: TrainedStage, tiny_model: str, tmp_path: Path) -> None:
    stage = train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, gradient_checkpointing=True))
    assert weights_of(stage).allclose(weights_of(trained), atol=1e-4)


def test_the_encoders_prompts_are_seen_in_training(tiny_model: str, tmp_path: Path) -> None:
    """Prompts that hold the other side's words change what is learned; the stage is judged under the same prompts."""
    _, pairs, _ = planted()
    plain, prompted = encoder_of(tiny_model), encoder_of(tiny_model, query_prompt="ask1 ", passage_prompt="tell2 ")
    seen: list[list[str]] = []
    for name, encoder in (("plain", plain), ("prompted", prompted)):
        model = load_model(tiny_model)
        texts: list[str] = []
        preprocess = model.preprocess

        def record(inputs, *args, prompt=None, texts=texts, preprocess=preprocess, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN202
            texts.extend(f"{prompt or ''}{text}" for text in inputs)
            return preprocess(inputs, *args, prompt=prompt, **kwargs)

        model.preprocess = record  # type: ignore[method-assign]
        settings = dataclasses.replace(QUICK, max_steps=1)
        fine_tune(model, StageTask(pair_rows(pairs, {}), settings, encoder.spec, goal=None, folder=tmp_path / name))
        seen.append(texts)
    assert sum(text.startswith("how is") for text in seen[0]) == 32
    assert sum(text.startswith("ask1 how is") for text in seen[1]) == 32
    assert all(text.startswith(("ask1 how", "tell2 tell")) for text in seen[1])


def test_nothing_but_log_lines_is_written(
    tiny_model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("transformers").propagate = True
    train_planted(tiny_model, tmp_path / "stage", dataclasses.replace(QUICK, max_steps=2))
    captured = capfd.readouterr()
    assert captured.out == ""
    unexpected = [
        line for line in captured.err.splitlines() if line.strip() and "mtime may not be reliable" not in line
    ]
    assert unexpected == []
