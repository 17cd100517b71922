"""Batches hold every row once, hardly any padding, and no more tokens than allowed."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from domain_embed_pipeline.encoding.batching import BLOCK_SIZE, Batch, feature_batches, rows_of_tokens, split


def features_of(texts: list[str], *, side: str = "right") -> dict[str, Any]:
    """A row of word numbers for each text, padded with 0; what a model's `preprocess` returns."""
    rows = [[int(word) for word in text.split()] for text in texts]
    width = max(map(len, rows))
    padded = [row + [0] * (width - len(row)) if side == "right" else [0] * (width - len(row)) + row for row in rows]
    ids = torch.tensor(padded)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "modality": "text"}


def texts_of(count: int) -> list[str]:
    generator = random.Random(0)
    return [" ".join(str(generator.randint(1, 9)) for _ in range(generator.randint(1, 40))) for _ in range(count)]


def read(batch: Batch) -> list[str]:
    return [" ".join(str(number) for number in row if number) for row in batch.features["input_ids"].tolist()]


def test_every_row_is_in_one_batch_and_none_is_over_the_budget() -> None:
    lengths = [len(text.split()) for text in texts_of(300)]
    batches = rows_of_tokens(lengths, 64)
    assert sorted(row for rows in batches for row in rows) == list(range(300))
    assert all(max(lengths[row] for row in rows) * len(rows) <= 64 for rows in batches)


def test_a_row_longer_than_the_budget_is_alone() -> None:
    assert rows_of_tokens([3, 100, 4], 10) == [[1], [2, 0]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_each_text_comes_back_whole_with_little_padding(side: str) -> None:
    texts = texts_of(BLOCK_SIZE + 50)
    batches = list(feature_batches(texts, lambda block: features_of(block, side=side), lambda: 200))
    found = {row: text for batch in batches for row, text in zip(batch.rows, read(batch), strict=True)}
    assert [found[row] for row in range(len(texts))] == texts
    tokens = sum(len(text.split()) for text in texts)
    assert tokens <= sum(batch.tokens for batch in batches) < 1.15 * tokens
    assert all(batch.features["modality"] == "text" for batch in batches)


def test_a_text_is_tokenised_once() -> None:
    seen: list[str] = []

    def preprocess(block: list[str]) -> dict[str, Any]:
        seen.extend(block)
        return features_of(block)

    texts = texts_of(3 * BLOCK_SIZE)
    assert len(list(feature_batches(texts, preprocess, lambda: 64))) > 3
    assert sorted(seen) == sorted(texts)


def test_features_without_a_mask_stay_in_one_batch() -> None:
    (batch,) = feature_batches(["1 2", "3"], lambda block: {"input_ids": torch.tensor([1, 2, 3])}, lambda: 1)
    assert (batch.rows, batch.tokens, batch.is_divisible) == ([0, 1], 0, False)


def test_half_a_batch_is_as_wide_as_its_own_longest_row() -> None:
    first, second = split(Batch([7, 8, 9, 4], features_of(["1 2 3", "4 5 6", "7", "8 9"])))
    assert (first.rows, read(first)) == ([7, 8], ["1 2 3", "4 5 6"])
    assert (second.rows, read(second), second.tokens) == ([9, 4], ["7", "8 9"], 4)


def test_a_tokeniser_that_fails_is_heard_of() -> None:
    def preprocess(block: list[str]) -> dict[str, Any]:
        raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        list(feature_batches(["1"], preprocess, lambda: 64))
