"""However a batch is cut, loss and gradients are those of the plain loss over the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.training.slices import SlicePlan, sliced_ranking_loss

ANCHORS = [f"how is ask{number} " + "is how " * (number % 5) for number in range(12)]
SIBLINGS = [f"ask{number} how " + "noted " * (number % 3) for number in range(12)]
POSITIVES = [f"tell{number} is noted " + "here noted " * (number % 7) for number in range(12)]
NEGATIVES = [f"tell{29 - number} here" for number in range(12)]


def gradients(
    folder: str, plan: SlicePlan | None, columns: Sequence[list[str]], *, seen: list[int] | None = None
) -> tuple[float, torch.Tensor]:
    """Loss and all gradients of one batch in double precision; None is sentence-transformers' own loss."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = load_model(folder, device="cpu").double()
    ranking = MultipleNegativesRankingLoss(model)
    loss_of: Any = ranking if plan is None else sliced_ranking_loss(model, ranking, plan)
    if seen is not None:
        model[0].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]["input_ids"].numel()))
    loss = loss_of([model.preprocess(column) for column in columns], torch.zeros(12))
    loss.backward()
    found = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return loss.item(), torch.cat(found)


@pytest.mark.parametrize(
    "plan", [SlicePlan(tokens=10_000), SlicePlan(tokens=60), SlicePlan(tokens=60, texts=3), SlicePlan(tokens=1)]
)
def test_loss_and_gradients_are_those_of_the_plain_loss(tiny_model: str, plan: SlicePlan) -> None:
    columns = [ANCHORS, POSITIVES, NEGATIVES]
    expected, expected_gradients = gradients(tiny_model, None, columns)
    loss, found = gradients(tiny_model, plan, columns)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(found, expected_gradients, rtol=1e-9, atol=1e-12)


def test_rows_of_several_anchors_in_bounded_memory_have_the_same_gradients(tiny_model: str) -> None:
    columns = [ANCHORS, POSITIVES, SIBLINGS]
    expected, expected_gradients = gradients(tiny_model, SlicePlan(tokens=10_000, siblings=1), columns)
    seen: list[int] = []
    loss, found = gradients(tiny_model, SlicePlan(tokens=40, texts=4, siblings=1), columns, seen=seen)
    assert max(seen) <= 40
    assert loss == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(found, expected_gradients, rtol=1e-9, atol=1e-12)


def test_hardly_any_padding_is_computed(tiny_model: str) -> None:
    seen: list[int] = []
    gradients(tiny_model, SlicePlan(tokens=64), [ANCHORS, POSITIVES], seen=seen)
    plain: list[int] = []
    gradients(tiny_model, SlicePlan(tokens=10_000), [ANCHORS, POSITIVES], seen=plain)
    assert sum(seen) < 0.75 * sum(plain)


def test_columns_with_prompts_of_their_own_are_cut_apart(tiny_model: str) -> None:
    model = load_model(tiny_model, device="cpu")
    model.set_pooling_include_prompt(False)
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    ranking = MultipleNegativesRankingLoss(model)
    columns = [model.preprocess(ANCHORS, prompt="how is "), model.preprocess(POSITIVES, prompt="noted ")]
    assert columns[0]["prompt_length"] != columns[1]["prompt_length"]
    sliced = sliced_ranking_loss(model, ranking, SlicePlan(tokens=40))(columns, torch.zeros(12))
    assert sliced.item() == pytest.approx(ranking(columns, torch.zeros(12)).item(), rel=1e-4)
