"""Arithmetic of vectors that several rooms need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length, shape (rows, dimension); a row of zeros stays."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
