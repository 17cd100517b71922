"""`EncoderSpec`: everything that decides what vector a text gets, and the protocol of whatever applies it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Side = Literal["query", "passage"]
"""What a text is to the search: asked, or found."""


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

    def prompt_of(self, side: Side) -> str:
        """What is put before a text of this side; empty for nothing."""
        return self.query_prompt if side == "query" else self.passage_prompt


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


class SidedEncoder(ABC):
    """An encoder that does the same with queries and passages, but for what depends on their side."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._spec = spec

    @property
    def spec(self) -> EncoderSpec:
        """What decides the vectors."""
        return self._spec

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of queries, shape (len(texts), dimension)."""
        return self._encode(texts, "query")

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of passages, shape (len(texts), dimension)."""
        return self._encode(texts, "passage")

    @abstractmethod
    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """Vectors of texts, float32, shape (len(texts), dimension); none for none."""


def encode_side(encoder: Encoder, texts: Sequence[str], side: Side) -> np.ndarray:
    """Vectors of texts of one side, shape (len(texts), dimension), where the side is not known before."""
    return encoder.encode_queries(texts) if side == "query" else encoder.encode_passages(texts)
