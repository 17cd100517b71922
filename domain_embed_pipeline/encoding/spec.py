"""`EncoderSpec`: everything that decides what vector a text gets, and the protocol of whatever applies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Saved with the model, the vectors and the collection; two specs of one fingerprint give equal vectors.

    `fingerprint` covers weights, tokenizer, prompts, pooling, maximum length, dimension, normalisation and dtype.
    """

    model_version: str
    """Registry version, or the base model's name."""
    fingerprint: str
    dimension: int
    max_length: int
    """Tokens after which a text is cut, special tokens included."""
    query_prompt: str
    passage_prompt: str
    normalize: bool
    dtype: str
    """Arithmetic of the forward pass: `float32`, `bfloat16` or `float16`."""


class Encoder(Protocol):
    """Turns texts into vectors by one spec."""

    @property
    def spec(self) -> EncoderSpec:
        """What decides the vectors."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of queries: float32, shape (len(texts), dimension), unit length when the spec normalises."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of passages (`Chunk.embedding_text`): float32, shape (len(texts), dimension)."""
        ...
