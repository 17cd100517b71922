"""Rows of several anchors: every question is in one, and the loss is that of as many batches with the same passages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.records import HardNegative, TrainingPair
from domain_embed_pipeline.training.fine_tuning import StageTask, fine_tune
from domain_embed_pipeline.training.losses import LossMaker
from domain_embed_pipeline.training.rows import dataset_of, negative_rows, pair_rows, sibling_count
from domain_embed_pipeline.training.settings import TrainingSettings, epochs_for


def pair(anchor: str, chunk: str) -> TrainingPair:
    return TrainingPair(f"p-{anchor}", anchor, f"passage {chunk}", f"c-{chunk}", "question", "natural")


PAIRS = [
    pair(f"question {number} of {chunk}", chunk) for chunk, count in (("a", 5), ("b", 2)) for number in range(count)
]


def test_every_anchor_is_in_a_row_of_its_own_passage_and_rows_are_full() -> None:
    rows = pair_rows(PAIRS, {}, anchors_per_row=4)
    assert [len(row.anchors) for row in rows] == [4, 4, 4]
    for row in rows:
        assert all(anchor.endswith(row.positive[-1]) for anchor in row.anchors)
    assert {anchor for row in rows for anchor in row.anchors} == {pair.anchor for pair in PAIRS}
    assert sibling_count(rows) == 3
    assert dataset_of(rows).column_names == ["anchor", "positive", "sibling_1", "sibling_2", "sibling_3"]


def test_a_row_is_not_wider_than_the_passage_with_most_questions() -> None:
    assert sibling_count(pair_rows(PAIRS[-2:], {}, anchors_per_row=4)) == 1
    assert sibling_count(pair_rows(PAIRS, {})) == 0


def test_all_anchors_of_a_row_keep_others_out_of_its_batch() -> None:
    (row,) = pair_rows(PAIRS[-2:], {"c-b": "cluster"}, anchors_per_row=4)
    assert row.groups.own == {"anchor:question 0 of b", "anchor:question 1 of b", "cluster"}


def test_a_row_of_several_anchors_takes_the_hardest_negatives_of_all() -> None:
    def mined(anchor: str, negative: str, score: float) -> HardNegative:
        return HardNegative(anchor, "passage a", f"passage {negative}", "c-a", f"c-{negative}", 1, 0.9, score)

    rows = negative_rows([mined("q1", "x", 0.4), mined("q2", "y", 0.6), mined("q3", "y", 0.5)], {}, anchors_per_row=3)
    assert [row.negatives for row in rows] == [("passage y",)]
    assert rows[0].groups.negatives == {"c-y"}


def test_the_loss_is_the_mean_over_batches_with_the_same_passages(tiny_model: str) -> None:
    import torch

    model = load_model(tiny_model, device="cpu")
    texts = {
        "anchor": ["how is ask1 ask2", "how is ask3 ask4", "how is ask5 ask6"],
        "positive": ["tell1 tell2 is noted here", "tell3 tell4 is noted here", "tell5 tell6 is noted here"],
        "negative": ["tell7 tell8", "tell9 tell10", "tell11 tell12"],
        "sibling": ["ask2 ask1", "ask4 how ask3", "ask6 ask5 how is"],
    }
    columns = {name: model.preprocess(column) for name, column in texts.items()}
    labels = torch.zeros(3)
    maker = LossMaker(TrainingSettings(), negative_count=1, dimension=32, sibling_count=1)
    shared = maker.make(model, mini_batch_size=None)(list(columns.values()), labels)
    plain = LossMaker(TrainingSettings(), negative_count=1, dimension=32).make(model, mini_batch_size=None)
    each = [plain([columns[name], columns["positive"], columns["negative"]], labels) for name in ("anchor", "sibling")]
    assert shared.item() == pytest.approx(sum(loss.item() for loss in each) / 2, rel=1e-5)


def test_a_guide_with_several_anchors_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match="anchors_per_row to 1"):
        LossMaker(TrainingSettings(guide_model="guide"), negative_count=0, dimension=32, sibling_count=1)


def test_fewer_rows_get_more_epochs_so_that_the_steps_stay() -> None:
    assert epochs_for(4_000) == 1.0
    assert epochs_for(4_000, 1_000) == 4.0
    assert epochs_for(400, 100) == 12.0


@pytest.mark.slow
def test_training_ranks_siblings_as_anchors_and_not_as_negatives(tiny_model: str, tmp_path: Path) -> None:
    from domain_embed_pipeline_tests.training.scenario import QUICK, encoder_of

    pairs = [
        replace(pair(f"how is ask{topic} {word}", str(topic)), positive=f"tell{topic} is noted here")
        for topic in range(30)
        for word in ("here", "noted", "is", "how")
    ]
    rows = pair_rows(pairs, {}, anchors_per_row=4)
    spec = encoder_of(tiny_model).spec
    model = load_model(tiny_model, device="cpu")
    stage = fine_tune(
        model, StageTask(rows, replace(QUICK, epochs=30, batch_size=16), spec, goal=None, folder=tmp_path / "stage")
    )
    losses = [point.loss for point in stage.history if point.loss is not None]
    # Were siblings taken for negatives, each anchor would rank its like above its passage for good.
    assert losses[-1] < 0.5 * losses[0]
