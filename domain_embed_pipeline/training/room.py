"""Whether a batch's activations fit into memory: on a CPU the system ends a process that takes too much, unasked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.training.rows import TrainingRow
from domain_embed_pipeline.training.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_FLOATS = 20
"""Kept for the backward pass by each layer for each token, in units of the hidden size, when the inner layer is four
times as wide (Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", arXiv 2205.05198,
without dropout masks and with an attention that keeps no scores)."""
_WITH_DROPOUT = 2
"""Times as much with masks and with attention scores, roughly."""
_CHARACTERS = 3.5
"""A token, in English."""
_SHARE = 0.5
"""Of free memory that activations may take."""


def activation_bytes(model: SentenceTransformer, rows: Sequence[TrainingRow], settings: TrainingSettings) -> float:
    """Bytes of activations of a batch of mean rows in float32; 0 for a model that does not tell its size."""
    config: Any = getattr(getattr(model[0], "auto_model", None), "config", None)
    layers, width = getattr(config, "num_hidden_layers", 0), getattr(config, "hidden_size", 0)
    tokens = sum(_tokens(row, settings.max_length) for row in rows) / len(rows) * settings.batch_size
    times = _WITH_DROPOUT if settings.dropout != 0 else 1
    return tokens * layers * width * _FLOATS * 4 * times


def fits(model: SentenceTransformer, rows: Sequence[TrainingRow], settings: TrainingSettings) -> bool:
    """Whether a batch can be held as it is; on a GPU always, where an error says so in time."""
    import psutil

    if model.device.type != "cpu":
        return True
    return activation_bytes(model, rows, settings) < _SHARE * psutil.virtual_memory().available


def _tokens(row: TrainingRow, most: int) -> float:
    return sum(min(len(text) / _CHARACTERS, most) for text in (*row.anchors, row.positive, *row.negatives))
