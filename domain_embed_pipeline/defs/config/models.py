"""Knobs of the group `models`."""

import dataclasses
from typing import Literal

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.defs.profiles import defaults_of
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings, TrainingSettings


class TrainingConfig(dg.Config):
    """How a stage is trained; an empty field means: by the rule for the model's size and the number of pairs."""

    learning_rate: float | None = Field(default=None, gt=0, lt=0.1, description="Too low under-trains small models.")
    epochs: float | None = Field(default=None, gt=0, le=20, description="Too many fit the questions, not the domain.")
    batch_size: int = Field(default=64, ge=2, le=8192, description="In-batch negatives plus one.")
    anchors_per_row: int = Field(
        default=1, ge=1, le=32, description="Questions of one passage in one step: faster, but overfits sooner."
    )
    max_length: int = Field(default=160, ge=16, le=8192, description="Tokens of a text seen in training.")
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1, description="Share of steps that warm up; 0 can blow up.")
    scale: float = Field(default=20.0, gt=0, le=100, description="Inverse temperature; too high learns from few rows.")
    symmetric: bool = Field(default=False, description="Also rank anchors for each positive; costs a little time.")
    weight_decay: float = Field(default=0.01, ge=0, lt=1, description="Pull of the weights towards 0.")
    dropout: float | None = Field(
        default=0.0, ge=0, lt=1, description="Share of activations left out; empty: the model's own, slower and larger."
    )
    seed: int = Field(default=42, ge=0, description="Same seed and inputs, same model.")
    evaluations_per_epoch: int = Field(default=2, ge=1, le=50, description="Dev measurements; each encodes the pool.")
    patience: int | None = Field(
        default=3, ge=1, le=100, description="Dev measurements without a new best before it stops; empty: to the end."
    )
    max_minutes: float | None = Field(
        default=None, gt=0, le=7 * 24 * 60, description="Stops after so long with the best checkpoint so far."
    )
    max_steps: int = Field(default=-1, ge=-1, description="Ceiling on steps; -1 for none, 1 for a smoke test.")
    averaged_seeds: int = Field(
        default=1, ge=1, le=10, description="Trains so many seeds and averages their weights: steadier, and as much "
        "dearer."
    )  # fmt: skip
    mini_batch_size: int | None = Field(
        default=None, ge=1, le=8192, description="Cached loss when memory is short; set by itself when it runs out."
    )
    gradient_checkpointing: bool = Field(default=False, description="Less memory for about a third more time.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Of the forward pass; float16 needs a GPU."
    )
    lora_rank: int | None = Field(
        default=None, ge=1, le=512, description="Trains adapters of this rank (extra `lora`): little memory for large "
        "models; wants several times the learning rate."
    )  # fmt: skip
    matryoshka_dimensions: list[int] = Field(
        default=[], description="Vector lengths that shall be useful on their own, such as [256, 128]."
    )
    guide_model: str | None = Field(
        default=None, description="Model that masks false negatives of a batch (GISTEmbed); takes about twice the time."
    )
    num_processes: int = Field(
        default=1, ge=1, le=64, description="GPUs of this machine that share each batch; more than it has fail."
    )

    def to_settings(self) -> TrainingSettings:
        """The library's settings."""
        knobs = self.model_dump(include={field.name for field in dataclasses.fields(TrainingSettings)})
        knobs["matryoshka_dimensions"] = tuple(self.matryoshka_dimensions)
        return TrainingSettings(**knobs)


@defaults_of("stage_one_model")
class StageOneConfig(TrainingConfig):
    """Stage one: pairs with in-batch negatives."""

    start: Literal["base", "live"] = Field(
        default="base", description="`live` goes on from the model that serves, in less time; what it once learned "
        "wrong stays. The base model while nothing is live."
    )  # fmt: skip


@defaults_of("finetuned_model")
class StageTwoConfig(TrainingConfig):
    """Stage two starts from stage one, so it is short and gentle."""

    enabled: bool = Field(default=True, description="Off: the candidate is chosen among the base and stage one.")
    learning_rate: float | None = Field(default=5e-5, gt=0, lt=0.1, description="Half of stage one's for 22M models.")
    epochs: float | None = Field(default=1.0, gt=0, le=20, description="More than one rarely pays.")
    blend_weights: list[float] = Field(default=[0.5, 0.75], description="Shares of tuned weights in blends with base.")
    simplicity_tolerance: float = Field(
        default=1.0, ge=0, le=5, description="Standard errors within which the simpler model wins; 0 chases noise."
    )
    guard_tolerance: float = Field(
        default=0.03, ge=0, le=1, description="Of those, one that lost so much more nDCG@10 on the guard sets than "
        "another is set aside; 1 lets it forget."
    )  # fmt: skip

    def to_candidate_settings(self) -> CandidateSettings:
        """How the candidate is chosen."""
        return CandidateSettings(
            blend_weights=tuple(self.blend_weights),
            simplicity_tolerance=self.simplicity_tolerance,
            guard_tolerance=self.guard_tolerance,
        )


@defaults_of("hard_negatives")
class MiningConfig(dg.Config):
    """Which chunks become hard negatives."""

    negatives_per_pair: int = Field(default=1, ge=1, le=20, description="More cost time in proportion.")
    first_rank: int = Field(default=1, ge=1, le=1000, description="Ranks before it are skipped as probably relevant.")
    last_rank: int = Field(default=50, ge=1, le=1000, description="Ranks after it are too easy.")
    relative_margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="How far under the positive's score a negative must stay, as a share of it.",
    )
    exclude_same_document: bool = Field(default=True, description="Off: neighbours of the answer count as wrong.")
    sampling: Literal["top", "random"] = Field(
        default="random", description="`top` takes the hardest of the window, and with them more false negatives."
    )
    seed: int = Field(default=42, ge=0, description="Of the random choice.")

    def to_settings(self) -> MiningSettings:
        """The library's settings."""
        return MiningSettings(**self.model_dump())
