"""Code location of the browser test: the project's own definitions, with a demo profile that fits the tiny model.

A model of one layer with random weights needs other steps than a real one; all else is as users have it. Steps start
from this module and not from a process that has the project's definitions already, which would keep the real profile.
"""

from __future__ import annotations

import os

import dagster as dg

from domain_embed_pipeline.defs.profiles import PROFILES

os.environ["DOMAIN_EMBED_PROFILE"] = "demo"
TRAINING = {"learning_rate": 2e-2, "batch_size": 32, "anchors_per_row": 1, "evaluations_per_epoch": 2, "max_length": 32}
PROFILES["demo"] |= {
    "structural_pairs": {"use_title_body": False, "use_adjacent_sentences": False},
    "training_pairs": {"leak_similarity": 1.01},
    "stage_one_model": {**TRAINING, "epochs": 6.0},
    "finetuned_model": {**TRAINING, "learning_rate": 5e-3, "epochs": 1.0, "blend_weights": [0.75]},
}

from domain_embed_pipeline.definitions import build_defs  # noqa: E402

defs = build_defs(executor=dg.multiprocess_executor)

__all__ = ["defs"]
