"""Profiles: named sets of run knobs. Pick one in the launchpad or with `domain-embed run --profile NAME`.

What is not named here has the default of `config.py`.
"""

from typing import Any

Knobs = dict[str, dict[str, Any]]

PROFILES: dict[str, Knobs] = {
    # A few hundred chunks on two CPU cores in minutes.
    "demo": {
        "stage_one_model": {"anchors_per_row": 4, "epochs": 2.5, "evaluations_per_epoch": 1, "max_length": 128},
        "finetuned_model": {
            "anchors_per_row": 4,
            "evaluations_per_epoch": 1,
            "max_length": 128,
            "max_steps": 12,
            "blend_weights": [0.75],
        },
    },
    # Thousands of chunks on a CPU, within an hour or so.
    "cpu": {},
    # One GPU: larger batches, longer texts, more dev measurements.
    "gpu": {
        "stage_one_model": {"batch_size": 256, "max_length": 256, "evaluations_per_epoch": 4},
        "finetuned_model": {"batch_size": 256, "max_length": 256, "evaluations_per_epoch": 4},
    },
    # As gpu, with more questions and more negatives.
    "production": {
        "generated_questions": {"questions_per_style": 2, "mode": "batch", "max_cost_usd": 50.0},
        "stage_one_model": {"batch_size": 256, "max_length": 256, "evaluations_per_epoch": 4},
        "hard_negatives": {"negatives_per_pair": 3},
        "finetuned_model": {"batch_size": 256, "max_length": 256, "evaluations_per_epoch": 4},
    },
}


def run_config_of(profile: str, *, only: set[str] | None = None) -> dict[str, Any]:
    """Run config of a profile, for the assets named in `only` (all when None)."""
    knobs = PROFILES[profile]
    return {"ops": {name: {"config": values} for name, values in knobs.items() if only is None or name in only}}
