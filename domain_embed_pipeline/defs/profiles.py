"""Profiles: named sets of run knobs, one of which fits your machine.

`DOMAIN_EMBED_PROFILE` names the profile whose values are the defaults everywhere: in the launchpad, for "Materialize
all", for schedules and sensors. One run takes another with `domain-embed run --profile NAME`, or in the web UI with the
job `retrain_and_promote_NAME_job`. Every profile names the same knobs; all others have the default of `config`.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import dagster as dg

from domain_embed_pipeline.settings import DeploymentSettings

Knobs = dict[str, dict[str, Any]]
C = TypeVar("C", bound=dg.Config)


def _changed(base: Knobs, *, training: Mapping[str, Any] | None = None, **assets: Mapping[str, Any]) -> Knobs:
    """A profile like `base` but for some knobs; those of `training` are changed for both stages.

    Raises:
        KeyError: If `base` does not name the asset.
    """
    profile = copy.deepcopy(base)
    for asset in ("stage_one_model", "finetuned_model"):
        profile[asset].update(training or {})
    for asset, knobs in assets.items():
        profile[asset].update(knobs)
    return profile


# Thousands of chunks on a CPU, within an hour or so. The other profiles say where they differ.
_CPU: Knobs = {
    "generated_questions": {"questions_per_style": 1, "mode": "auto", "max_cost_usd": 5.0},
    "stage_one_model": {
        "batch_size": 64, "anchors_per_row": 1, "epochs": None, "max_length": 160, "evaluations_per_epoch": 2,
    },
    "hard_negatives": {"negatives_per_pair": 1},
    "finetuned_model": {
        "batch_size": 64, "anchors_per_row": 1, "max_length": 160, "evaluations_per_epoch": 2, "max_steps": 32,
        "blend_weights": [0.5, 0.75],
    },
}  # fmt: skip

# A few hundred chunks on two CPU cores in minutes.
_DEMO = _changed(
    _CPU,
    training={"batch_size": 32, "anchors_per_row": 4, "max_length": 128, "evaluations_per_epoch": 1},
    stage_one_model={"epochs": 1.5},
    finetuned_model={"max_steps": 16, "blend_weights": [0.75]},
)

# One GPU: larger batches, longer texts, more dev measurements.
_GPU = _changed(
    _CPU,
    training={"batch_size": 256, "max_length": 256, "evaluations_per_epoch": 4},
    finetuned_model={"max_steps": -1},
)

# As gpu, with twice the questions, in batches at half the price, and more negatives.
_PRODUCTION = _changed(
    _GPU,
    generated_questions={"questions_per_style": 2, "mode": "batch", "max_cost_usd": 50.0},
    hard_negatives={"negatives_per_pair": 3},
)

PROFILES = {"demo": _DEMO, "cpu": _CPU, "gpu": _GPU, "production": _PRODUCTION}


def run_config_of(profile: str, *, only: set[str] | None = None) -> dict[str, Any]:
    """Run config of a profile, for the assets named in `only` (all when None)."""
    knobs = PROFILES[profile]
    return {"ops": {name: {"config": dict(values)} for name, values in knobs.items() if only is None or name in only}}


def defaults_of(asset: str, *, profile: str | None = None) -> Callable[[type[C]], type[C]]:
    """Class decorator: the fields of an asset's config that its profile names get the profile's values as defaults.

    Args:
        asset: Whose config the class is.
        profile: The deployment's (`DOMAIN_EMBED_PROFILE`) when not given.
    """

    def change(config_class: type[C]) -> type[C]:
        """The same class with other defaults; Dagster reads them from the class."""
        for name, value in PROFILES[profile or DeploymentSettings().profile].get(asset, {}).items():
            config_class.model_fields[name].default = value
        config_class.model_rebuild(force=True)
        return config_class

    return change
