"""The one fake that several rooms share: an encoder whose every score can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import EncoderSpec

if TYPE_CHECKING:
    import numpy as np


class KeywordEncoder:
    """One dimension a keyword: 1 where the text holds it, scaled to unit length.

    A text without any keyword gets the zero vector, so that it is as far from everything as can be. Words are what
    lies between white space, lower-cased, without punctuation at their ends.
    """

    def __init__(self, keywords: Sequence[str], *, model_version: str = "keywords") -> None:
        self.keywords = tuple(keywords)
        self.encoded: list[str] = []
        """Every text that was encoded, in order."""
        self._spec = EncoderSpec(
            model_version=model_version,
            fingerprint=f"{model_version}-fingerprint",
            dimension=len(self.keywords),
            max_length=512,
            query_prompt="",
            passage_prompt="",
            normalize=True,
            dtype="float32",
        )

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        self.encoded.extend(texts)
        vectors = np.zeros((len(texts), len(self.keywords)), dtype=np.float32)
        for row, text in enumerate(texts):
            words = {word.strip(".,;:!?").lower() for word in text.split()}
            vectors[row] = [keyword in words for keyword in self.keywords]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)
