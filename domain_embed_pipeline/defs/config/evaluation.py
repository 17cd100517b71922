"""Knobs of the group `evaluation`."""

import dataclasses
from typing import Literal

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.defs.profiles import defaults_of
from domain_embed_pipeline.evaluation.comparison import ComparisonSettings


@defaults_of("model_comparison")
class ComparisonConfig(dg.Config):
    """What the verdict is about."""

    primary_metric: Literal["recall_at_1", "recall_at_3", "recall_at_5", "recall_at_10", "ndcg_at_10", "mrr_at_10"] = (
        Field(default="recall_at_5", description="Choose it before you see a result.")
    )
    guard_slices: bool = Field(
        default=True, description="Off: a part of the queries (a folder, a style) may get worse unnoticed by the gate."
    )

    def to_settings(self) -> ComparisonSettings:
        """The library's settings."""
        return dataclasses.replace(
            ComparisonSettings(), primary_metric=self.primary_metric, guard_slices=self.guard_slices
        )
