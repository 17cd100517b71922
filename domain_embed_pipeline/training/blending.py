"""Weight-space blends of a base model and its fine-tuned version (LM-Cocktail, arXiv 2311.13534)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import TrainingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def blend(base: SentenceTransformer, tuned: SentenceTransformer, *, tuned_weight: float) -> SentenceTransformer:
    """A new model with `tuned_weight` of the tuned weights and the rest of the base's.

    Args:
        base: Model of the same architecture.
        tuned: Fine-tuned from it.
        tuned_weight: 0 gives the base, 1 the tuned model.

    Raises:
        TrainingError: If the two have different parameters.
    """
    ours, theirs = base.state_dict(), tuned.state_dict()
    differing = sorted(name for name in ours.keys() ^ theirs.keys())
    differing += [name for name in ours.keys() & theirs.keys() if ours[name].shape != theirs[name].shape]
    if differing:
        raise TrainingError(
            f"Models cannot be blended: parameters {differing[:3]} differ.",
            fix="Blend a model only with the base it was trained from.",
        )
    blended = copy.deepcopy(tuned)
    mixed = {
        name: (value * (1 - tuned_weight) + theirs[name].to(value.device) * tuned_weight).to(value.dtype)
        if value.is_floating_point()
        else theirs[name]
        for name, value in ours.items()
    }
    blended.load_state_dict(mixed)
    return blended
