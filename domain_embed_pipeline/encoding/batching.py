"""Batches of like length: every text is tokenised once, ahead of the arithmetic, and hardly any padding is computed.

What belongs here: cutting texts into batches of a number of tokens. What does not: running a model on them.

Why tokens and not texts: on a CPU a batch is fast when its activations stay in the cache, on a GPU when it fills the
chip; both are a number of tokens. all-MiniLM-L6-v2 in float32 took 66 ms of CPU a medquad chunk in batches of 2 to 8
(512 to 2,048 tokens) and 99 ms in batches of 32, sentence-transformers' default (docs/measurements.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Features = dict[str, Any]
"""What a model's `preprocess` returns: tensors of shape (texts, tokens), and a few plain values."""

BLOCK_SIZE = 256
"""Texts tokenised at a time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of the input, in the features' order, padded to the longest of them."""

    rows: list[int]
    features: Features

    @property
    def tokens(self) -> int:
        """Tokens with padding; 0 where that is not known."""
        mask = self.features.get("attention_mask")
        return 0 if mask is None else mask.numel()

    @property
    def is_divisible(self) -> bool:
        """Whether it can be cut into two."""
        return len(self.rows) > 1 and token_lengths(self.features) is not None


def rows_of_tokens(lengths: Sequence[int], budget: int, *, most_rows: int | None = None) -> list[list[int]]:
    """Rows in batches, longest first, of at most `budget` tokens with padding; a longer row is alone.

    Args:
        lengths: Tokens of each row.
        budget: Most tokens a batch, padding included.
        most_rows: Most rows a batch.
    """
    ceiling = len(lengths) if most_rows is None else most_rows
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        # Rows come longest first, so a batch is as wide as its first row.
        room = min(ceiling, budget // max(1, lengths[batches[-1][0]])) if batches else 0
        if batches and len(batches[-1]) < room:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def token_lengths(features: Features) -> list[int] | None:
    """Tokens of each row; None when the features have no mask of padding, and so cannot be cut to a width."""
    import torch

    mask = features.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2 or _padded_side(mask) is None:
        return None
    return mask.sum(dim=1).tolist()


def rows_of(features: Features, rows: Sequence[int], width: int) -> Features:
    """The given rows, cut to `width` tokens; what is not of shape (texts, ...) is handed on as it is."""
    import torch

    mask = features["attention_mask"]
    index = torch.as_tensor(rows, device=mask.device)
    tokens = slice(None, width) if _padded_side(mask) == "right" else slice(mask.shape[1] - width, None)

    def cut(value: Any) -> Any:
        """Only tensors with one row a text are cut; those with one column a token, in both directions."""
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape[0] != mask.shape[0]:
            return value
        return value[index, tokens] if value.ndim == 2 and value.shape[1] == mask.shape[1] else value[index]

    return {name: cut(value) for name, value in features.items()}


def _padded_side(mask: torch.Tensor) -> str | None:
    if bool(mask[:, 0].all()):
        return "right"
    return "left" if bool(mask[:, -1].all()) else None


def feature_batches(
    texts: Sequence[str], preprocess: Callable[[list[str]], Features], budget: Callable[[], int]
) -> Iterator[Batch]:
    """Batches of all texts, long texts first; the next block is tokenised in a thread while this one is used.

    Args:
        texts: Any number.
        preprocess: Tokenises a list of texts.
        budget: Asked before each block, so that a smaller one takes effect on the way.
    """
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    blocks = [order[start : start + BLOCK_SIZE] for start in range(0, len(order), BLOCK_SIZE)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise") as pool:
        ahead = pool.submit(preprocess, [texts[row] for row in blocks[0]])
        for number, block in enumerate(blocks):
            features = ahead.result()
            if number + 1 < len(blocks):
                ahead = pool.submit(preprocess, [texts[row] for row in blocks[number + 1]])
            yield from _block_batches(block, features, budget())


def _block_batches(block: Sequence[int], features: Features, budget: int) -> Iterator[Batch]:
    lengths = token_lengths(features)
    if lengths is None:
        yield Batch(list(block), features)
        return
    for rows in rows_of_tokens(lengths, budget):
        yield Batch([block[row] for row in rows], rows_of(features, rows, max(1, lengths[rows[0]])))


def split(batch: Batch) -> tuple[Batch, Batch]:
    """A divisible batch in two, each as wide as its own longest row."""
    lengths = token_lengths(batch.features)
    assert lengths is not None
    middle = len(lengths) // 2
    first, second = range(middle), range(middle, len(lengths))
    return (
        Batch(batch.rows[:middle], rows_of(batch.features, first, max(lengths[:middle]))),
        Batch(batch.rows[middle:], rows_of(batch.features, second, max(lengths[middle:]))),
    )
