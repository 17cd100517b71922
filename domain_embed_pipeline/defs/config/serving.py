"""Knobs of the group `serving`."""

from typing import Literal

import dagster as dg
from pydantic import Field


class CollectionConfig(dg.Config):
    """Whose vectors the collection holds."""

    model: Literal["candidate", "live", "base"] = Field(
        default="candidate", description="`live` rebuilds the index of the model that serves, for the corpus as it is "
        "now; no verdict is needed, since the model stays. `base` is the base model in its best mode, which may go "
        "live only while nothing is."
    )  # fmt: skip


class PromotionConfig(dg.Config):
    """Who decides."""

    override_reason: str | None = Field(
        default=None, description="Go live without a passing verdict, for this reason; it is recorded for ever."
    )
    keep_previous: int = Field(
        default=2,
        ge=0,
        le=100,
        description="Earlier collections, and trainings whose models are kept, for rollback. Disk grows with it.",
    )


class RollbackConfig(dg.Config):
    """Where to, and why."""

    to: str | None = Field(
        default=None, description="Model version or collection; what was live before when it is not given."
    )
    reason: str = Field(
        default="rolled back from the UI", min_length=1, max_length=2000, description="Why; it is kept in the lineage."
    )
