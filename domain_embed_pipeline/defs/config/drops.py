"""Knobs of what happens between two trainings."""

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.drops.decision import DecisionSettings


class IndexingConfig(dg.Config):
    """How far a run may change the live index."""

    most_deleted_share: float = Field(
        default=0.5, gt=0, le=1, description="Refuses to delete more than this share of the index at once: an empty "
        "mount looks like deleted documents. 1 allows everything."
    )  # fmt: skip


class RetrainDecisionConfig(dg.Config):
    """From where on new documents are worth a training; everything is counted since the last one."""

    fewest_new_chunks: int = Field(
        default=50, ge=1, le=10**6, description="Below it nothing is retrained; too few teach nothing."
    )
    most_new_chunks: int = Field(default=5_000, ge=1, le=10**6, description="So many are always worth a training.")
    new_cluster_share: float = Field(
        default=0.2, gt=0, le=1, description="Share of near-duplicate clusters that are new; lower retrains for more "
        "of the same."
    )  # fmt: skip
    new_word_share: float = Field(
        default=0.15, gt=0, le=1, description="Share of new words in new chunks; lower takes names for a new field."
    )
    lowest_recall: float = Field(
        default=0.7, ge=0, le=1, description="Live Recall@5 on questions from new chunks below which it retrains."
    )
    fewest_questions: int = Field(default=30, ge=1, le=10**6, description="With fewer, Recall is not looked at.")

    def to_settings(self) -> DecisionSettings:
        """The library's settings."""
        return DecisionSettings(**self.model_dump())
