"""Knobs of the group `training_data`."""

from typing import Literal

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.defs.profiles import defaults_of
from domain_embed_pipeline.pairs.evaluation_sets import EvaluationSetSettings
from domain_embed_pipeline.pairs.filters.settings import FILTER_NAMES, FilterSettings
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.structural import StructuralSettings
from domain_embed_pipeline.pairs.training_pairs import TrainingPairSettings
from domain_embed_pipeline.questions.settings import QuestionSettings


@defaults_of("generated_questions")
class QuestionsConfig(dg.Config):
    """What the LLM is asked, and for how much."""

    model: str = Field(default="claude-haiku-5-5", description="Model of the Messages API; needs a known price.")
    questions_per_style: int = Field(default=1, ge=1, le=8, description="More than 2 mostly yields rewordings.")
    domain_description: str = Field(default="", description="One line on the domain and its readers.")
    example_queries: list[str] = Field(default=[], description="Up to 8 queries of real users, to imitate their tone.")
    mode: Literal["auto", "direct", "batch"] = Field(
        default="auto", description="`batch` costs half and may take hours; `auto` takes it for many chunks."
    )
    max_cost_usd: float = Field(default=5.0, ge=0, le=10_000, description="Ceiling of this run; all so far is kept.")
    input_usd_per_mtok: float | None = Field(
        default=None, ge=0, le=10_000, description="Price of a model outside the price table; 0 for your own server."
    )
    output_usd_per_mtok: float | None = Field(
        default=None, ge=0, le=10_000, description="As above; without both, a model that is not known stops the run."
    )
    batch_wait_minutes: float = Field(
        default=10.0, ge=0, le=43_200, description="How long this run waits for its batches; then it ends, and "
        "`question_batches_sensor` starts it again when they are done."
    )  # fmt: skip

    def to_settings(self) -> QuestionSettings:
        """The library's settings."""
        return QuestionSettings(
            model=self.model,
            questions_per_style=self.questions_per_style,
            domain_description=self.domain_description,
            example_queries=tuple(self.example_queries),
            mode=self.mode,
            max_cost_usd=self.max_cost_usd,
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            batch_wait_h=self.batch_wait_minutes / 60,
        )


@defaults_of("evaluation_set")
class EvaluationSetConfig(dg.Config):
    """When evaluation queries are made."""

    renew: bool = Field(default=False, description="Generate new queries although one is frozen; old scores are void.")
    style_shares: dict[str, float] = Field(
        default={},
        description="Mix of generated queries, style to weight, as your users ask; empty: every style alike.",
    )
    max_test_queries: int = Field(default=1000, ge=1, le=100_000, description="Generated; under 100 show little.")
    max_dev_queries: int = Field(default=500, ge=1, le=100_000, description="Generated; measured many times a run.")
    dev_share_of_test: float = Field(
        default=0.3, ge=0, lt=1, description="Share of your own test queries that become dev where you gave no dev.tsv."
    )

    def to_settings(self) -> EvaluationSetSettings:
        """The library's settings."""
        return EvaluationSetSettings(
            style_shares=tuple(sorted(self.style_shares.items())),
            max_test_queries=self.max_test_queries,
            max_dev_queries=self.max_dev_queries,
            dev_share_of_test=self.dev_share_of_test,
        )


@defaults_of("structural_pairs")
class StructuralPairsConfig(dg.Config):
    """Pairs that need no LLM."""

    use_title_body: bool = Field(default=True, description="Heading with its text: the floor when nobody answers.")
    use_adjacent_sentences: bool = Field(default=True, description="Sentence with its neighbour: a last resort.")

    def to_settings(self) -> StructuralSettings:
        """The library's settings."""
        return StructuralSettings(
            use_title_body=self.use_title_body, use_adjacent_sentences=self.use_adjacent_sentences
        )


@defaults_of("training_pairs")
class TrainingPairsConfig(dg.Config):
    """What is let into training."""

    structural_share: float = Field(
        default=0.1, ge=0, le=10, description="Structural pairs per question pair; more drown good questions."
    )
    structural_floor: int = Field(
        default=1_000,
        ge=0,
        le=100_000,
        description="Structural pairs fill up to so many where others are fewer.",
    )
    sentences_below: int = Field(
        default=100, ge=0, le=100_000, description="Neighbouring sentences fill up only where all other pairs are "
        "fewer; they made models worse."
    )  # fmt: skip
    leak_similarity: float = Field(
        default=0.95, gt=0, le=1.01, description="Cosine (base model) from which a pair about any passage is a test "
        "query in other words; lower drops questions about sibling subjects. Above 1: paraphrases are not looked for."
    )  # fmt: skip
    filters_off: list[str] = Field(
        default=[], description=f"Filters to switch off, of {', '.join(FILTER_NAMES)}; what they drop trains the model."
    )
    round_trip_max_rank: int | None = Field(
        default=None, ge=10, le=100_000, description="Questions whose passage the base model ranks beyond it are "
        "dropped or judged; a low bound drops what the model should learn."
    )  # fmt: skip
    judge: Literal["off", "hard", "all"] = Field(
        default="off", description="Ask the LLM whether the passage answers: of no question, of those beyond "
        "round_trip_max_rank, or of all. Each pair is paid for once."
    )  # fmt: skip
    judge_model: str = Field(default="claude-haiku-5-5", description="Model of the judge; needs a known price.")
    judge_max_cost_usd: float = Field(default=2.0, ge=0, le=10_000, description="Ceiling of the judge in one run.")

    def to_settings(self) -> TrainingPairSettings:
        """The library's settings."""
        filters = FilterSettings(round_trip_max_rank=self.round_trip_max_rank, judge=self.judge)
        return TrainingPairSettings(
            structural_share=self.structural_share,
            structural_floor=self.structural_floor,
            sentences_below=self.sentences_below,
            filters=filters.without(self.filters_off),
            leakage=self._leakage_settings(),
        )

    def _leakage_settings(self) -> LeakageSettings:
        if self.leak_similarity <= 1:
            return LeakageSettings(embedding_similarity=self.leak_similarity)
        return LeakageSettings(embedding_similarity=1.01, same_answer_similarity=1.01, same_answer_quantile=1.0)

    def to_judge_settings(self) -> QuestionSettings:
        """Whom the judge is, and for how much."""
        return QuestionSettings(model=self.judge_model, max_cost_usd=self.judge_max_cost_usd, mode="direct")
