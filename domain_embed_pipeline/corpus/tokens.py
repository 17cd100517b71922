"""Sizes in tokens: the protocol of a token counter, and the base model's own tokenizer behind it.

What does not belong here: encoding. A counter is loaded without torch and transformers wherever the model has a
`tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from domain_embed_pipeline.errors import ModelError
from domain_embed_pipeline.sequences import batches

_COUNTED_TOGETHER = 1_024
"""Texts whose tokens are in memory at once."""


class TokenCounter(Protocol):
    """Length of a text in tokens, special tokens left out."""

    def __call__(self, text: str, /) -> int:
        """Number of tokens in the text."""
        ...


def load_token_counter(model_folder: str | Path) -> TokenCounter:
    """Token counter of the sentence-transformers model in a folder.

    Raises:
        ModelError: If the folder holds no tokenizer.
    """
    folder = Path(model_folder)
    # sentence-transformers keeps the tokenizer beside modules.json or in the folder of its first module.
    for candidate in (folder / "tokenizer.json", *sorted(folder.glob("0_*/tokenizer.json"))):
        if candidate.is_file():
            return _fast_counter(candidate)
    if any(folder.glob("**/tokenizer_config.json")):
        return _slow_counter(folder)
    raise ModelError(
        f"{folder} holds no tokenizer.json, so chunk sizes cannot be counted in the base model's tokens.",
        fix="Name the folder of a complete sentence-transformers model.",
    )


def count_each(texts: Sequence[str], count_tokens: TokenCounter) -> list[int]:
    """Number of tokens in each text; the tokenizer of a `tokenizer.json` counts on all cores."""
    if isinstance(count_tokens, _FastCounter):
        return count_tokens.of_each(texts)
    return [count_tokens(text) for text in texts]


def _fast_counter(path: Path) -> TokenCounter:
    tokenizer = Tokenizer.from_file(str(path))
    # The file may switch on the model's own truncation (MiniLM's: 128 tokens), which would make every text short.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _FastCounter(tokenizer)


class _FastCounter:
    """Tokens by the Rust tokenizer, special tokens not counted."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str, /) -> int:
        """Tokens of one text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def of_each(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, counted on all cores."""
        counts: list[int] = []
        for batch in batches(texts, _COUNTED_TOGETHER):
            counts += map(len, self._tokenizer.encode_batch_fast(batch, add_special_tokens=False))
        return counts


def _slow_counter(folder: Path) -> TokenCounter:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(
            f"The tokenizer in {folder} cannot be loaded: {error}",
            fix="Name the folder of a complete sentence-transformers model.",
        ) from error

    def count_tokens(text: str, /) -> int:
        """Tokens of a text by the Python tokenizer, special tokens not counted."""
        return len(tokenizer.tokenize(text))

    return count_tokens
