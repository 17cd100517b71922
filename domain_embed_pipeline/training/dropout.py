"""Dropout while a stage is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ATTENTION = "attention_dropout"
"""Where transformers' later models (ModernBERT, Qwen) keep their attention's dropout: a number, not a module."""


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Leave out this share of activations while training; the configuration that is saved stays as it is.

    At 0 torch's fused attention can be used on a CPU, which keeps no matrix of token by token in memory.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, _ATTENTION, None), float):
            setattr(module, _ATTENTION, share)
