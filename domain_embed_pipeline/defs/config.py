"""Run knobs of the assets, as the launchpad shows them. Each has a bound, a safe default and what breaks.

What belongs here: `dg.Config` classes and their one bridge to the library's settings (`to_settings`). What does not:
deployment settings (`settings.py`), named sets of knobs (`profiles.py`).
"""

import dataclasses
from typing import Literal

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.defs.profiles import defaults_of
from domain_embed_pipeline.drops.decision import DecisionSettings
from domain_embed_pipeline.evaluation.comparison import ComparisonSettings
from domain_embed_pipeline.pairs.evaluation_sets import EvaluationSetSettings
from domain_embed_pipeline.pairs.filters.settings import FILTER_NAMES, FilterSettings
from domain_embed_pipeline.pairs.leakage import LeakageSettings
from domain_embed_pipeline.pairs.splits import SplitSettings
from domain_embed_pipeline.pairs.structural import StructuralSettings
from domain_embed_pipeline.pairs.training_pairs import TrainingPairSettings
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings, TrainingSettings


@defaults_of("corpus_chunks")
class CorpusConfig(dg.Config):
    """How documents are cut into chunks."""

    max_tokens: int = Field(
        default=220, ge=32, le=8000, description="Most tokens a chunk; more than the model reads is cut off silently."
    )
    max_file_mb: int = Field(default=20, ge=1, le=2000, description="Larger files go to quarantine unread.")

    def to_settings(self) -> CorpusSettings:
        """The library's settings."""
        return CorpusSettings(max_tokens=self.max_tokens, max_file_bytes=self.max_file_mb * 1_000_000)


class SplitConfig(dg.Config):
    """What is held out when there are no queries of the user's own."""

    dev_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of documents on the dev side.")
    test_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of documents on the test side.")
    seed: int = Field(default=13, description="A new one moves documents between sides; old scores no longer compare.")

    def to_settings(self) -> SplitSettings:
        """The library's settings."""
        return SplitSettings(dev_share=self.dev_share, test_share=self.test_share, seed=self.seed)


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
    use_adjacent_sentences: bool = Field(default=True, description="Sentence with its neighbour: weak but plentiful.")

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
        default=1_000, ge=0, le=100_000, description="Structural pairs fill up to so many where others are fewer."
    )
    leak_similarity: float = Field(
        default=0.95, gt=0, le=1.01, description="Cosine (base model) from which a pair about any passage is a test "
        "query in other words; lower drops questions about sibling subjects. Above 1: paraphrases are not looked for."
    )  # fmt: skip
    adjacent_sentence_weight: float = Field(
        default=1.0, ge=0, le=10, description="Weight of sentence pairs against 2 for title-body pairs; 0 drops them."
    )

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
            adjacent_sentence_weight=self.adjacent_sentence_weight,
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


class CollectionConfig(dg.Config):
    """Whose vectors the collection holds."""

    model: Literal["candidate", "live"] = Field(
        default="candidate", description="`live` rebuilds the index of the model that serves, for the corpus as it is "
        "now; no verdict is needed, since the model stays."
    )  # fmt: skip


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
