"""Dropout is set for training alone."""

from __future__ import annotations

import torch

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.training.dropout import set_dropout


def test_without_dropout_two_passes_in_training_mode_are_equal(tiny_model: str) -> None:
    model = load_model(tiny_model)
    features = model.preprocess(["atrial fibrillation", "left anterior descending"])

    def passes() -> list[torch.Tensor]:
        return [model(dict(features))["sentence_embedding"] for _ in range(2)]

    set_dropout(model, 0.3)
    model.train()
    first, second = passes()
    assert not torch.equal(first, second)
    set_dropout(model, 0.0)
    first, second = passes()
    assert torch.equal(first, second)


class Attention(torch.nn.Module):
    """As transformers' later models keep their dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_dropout = 0.1


def test_an_attention_that_keeps_a_number_is_reached_too() -> None:
    attention = Attention()
    set_dropout(torch.nn.Sequential(attention), 0.0)
    assert attention.attention_dropout == 0.0
