"""Weight-space blends of a base model and its fine-tuned version (LM-Cocktail, arXiv 2311.13534)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import TrainingError

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


def average(models: Sequence[SentenceTransformer], weights: Sequence[float]) -> SentenceTransformer:
    """A new model whose every weight is the weighted sum of theirs; what is no fraction is the last one's.

    Args:
        models: At least one, all of the same architecture.
        weights: One each, with a sum of 1.

    Raises:
        TrainingError: If they have different parameters.
    """
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        _check_same(states[0], state)
    mixed = dict(states[-1])
    for name, last in states[-1].items():
        if last.is_floating_point():
            mixed[name] = last * weights[-1]
            for state, weight in zip(states[:-1], weights[:-1], strict=True):
                mixed[name] = mixed[name] + state[name].to(last.device) * weight
    averaged = copy.deepcopy(models[-1])
    averaged.load_state_dict(mixed)
    return averaged


def blend(base: SentenceTransformer, tuned: SentenceTransformer, *, tuned_weight: float) -> SentenceTransformer:
    """A new model with `tuned_weight` of the tuned weights and the rest of the base's.

    Args:
        base: Model of the same architecture.
        tuned: Fine-tuned from it.
        tuned_weight: 0 gives the base, 1 the tuned model.

    Raises:
        TrainingError: If the two have different parameters.
    """
    return average([base, tuned], [1 - tuned_weight, tuned_weight])


def _check_same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    differing = sorted(name for name in ours.keys() ^ theirs.keys())
    differing += [name for name in ours.keys() & theirs.keys() if ours[name].shape != theirs[name].shape]
    if differing:
        raise TrainingError(
            f"Models cannot be blended: parameters {differing[:3]} differ.",
            fix="Blend a model only with the base it was trained from.",
        )
