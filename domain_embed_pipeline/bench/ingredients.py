"""What is each ingredient of training worth? Every one left out in turn, compared on the dev queries.

What belongs here: which ingredients there are, and what a training without one is. What does not: filters of pairs
(`ablation`). The test queries are never touched: what is on by default is chosen by this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from domain_embed_pipeline.bench.deployment import (
    PAIRS,
    choose_pairs,
    dev_results,
    load_candidates,
    load_data,
    open_workspace,
    training_inputs,
)
from domain_embed_pipeline.bench.recipes import STAGE_TWO
from domain_embed_pipeline.bench.records import BenchSettings, RecipeJob
from domain_embed_pipeline.bench.running import artifacts_of, jobs_of
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.bench.tutorial import TutorialSettings
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.errors import TooFewPairsError
from domain_embed_pipeline.evaluation.records import MetricDifference, QueryResult, means
from domain_embed_pipeline.evaluation.statistics import paired_differences
from domain_embed_pipeline.evaluation.words import metric_name
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.pairs.training_pairs import PairCandidates, TrainingPairSettings
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.training.negatives import mine_hard_negatives
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings, TrainingSettings
from domain_embed_pipeline.training.stages import TrainingInputs, blend_version, train_stage_one, train_stage_two

PLAIN = "plain"
METRICS = ("recall_at_5", "ndcg_at_10")
FIRST, SECOND = "stage one", "stage two"


@dataclass(frozen=True, slots=True)
class IngredientSettings:
    """What is left out, and from what."""

    stage_one: TrainingSettings = field(default_factory=TrainingSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    stage_two: TrainingSettings = STAGE_TWO
    pairs: TrainingPairSettings = PAIRS

    def with_seed(self, seed: int) -> IngredientSettings:
        """Both stages with another seed."""
        return replace(self, stage_one=replace(self.stage_one, seed=seed), stage_two=replace(self.stage_two, seed=seed))


@dataclass(frozen=True, slots=True)
class IngredientRow:
    """One training, measured by vectors on dev over the whole corpus."""

    name: str
    pair_count: int
    means: Mapping[str, float]
    reference: str | None
    """Row that the differences are from."""
    differences: tuple[MetricDifference, ...] = ()
    """Of `METRICS`, paired by query."""


def run_ingredients(
    bench: BenchSettings,
    settings: IngredientSettings | None = None,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> list[IngredientRow]:
    """Train with every ingredient, then without each, and measure.

    A training for which too few pairs are left has no row.

    Args:
        bench: What to train on; what the recipe `default` left in its artifacts is not trained again.
        settings: The defaults of the assets when not given.
        tell: Called with a line a training.

    Raises:
        EvaluationSetError: If the folder has no usable queries.
    """
    rows: list[IngredientRow] = []
    results: dict[str, Sequence[QueryResult]] = {}
    with artifacts_of(bench) as artifacts:
        (job,) = jobs_of(replace(bench, recipes=("default",)), artifacts)
        trainings = _Trainings(job, settings or IngredientSettings())
        for name, (reference, train) in _ingredients().items():
            try:
                version = train(trainings)
            except TooFewPairsError as problem:
                tell(f"{name} is left out: {problem}")
                continue
            results[name] = found = dev_results(trainings.workspace, trainings.data, version)
            differences = paired_differences(found, results[reference], METRICS) if reference in results else ()
            row = IngredientRow(name, version.row_count, means(found, METRICS), reference, differences)
            tell(f"{name}: " + ", ".join(f"dev {metric_name(metric)} {mean:.4f}" for metric, mean in row.means.items()))
            rows.append(row)
    return rows


class _Trainings:
    """Data and trainings of one folder."""

    def __init__(self, job: RecipeJob, settings: IngredientSettings) -> None:
        self.workspace = open_workspace(job, Stopwatch())
        self.settings = settings.with_seed(job.seed)
        self.data = load_data(self.workspace)
        self._candidates = load_candidates(self.workspace, self.data, job.questions).pairs

    @property
    def base(self) -> ModelVersion:
        """The base model as it is."""
        return self.workspace.base_model

    @cached_property
    def pairs(self) -> TrainingPairs:
        """What the default settings choose."""
        return self._chosen(self.settings.pairs)

    @cached_property
    def one(self) -> ModelVersion:
        """Stage one with every ingredient."""
        return self._trained_on(self.pairs)

    @cached_property
    def two(self) -> ModelVersion:
        """Stage two with every ingredient."""
        return self.second()

    def random_batches(self) -> ModelVersion:
        """Stage one in batches that may hold two positives of one chunk: each pair counts as a chunk of its own."""
        pairs = [replace(pair, chunk_id=f"{pair.chunk_id}/{pair.pair_id}") for pair in self.pairs.pairs]
        return train_stage_one(self._inputs({}), pairs, settings=self.settings.stage_one)

    def with_rate(self, rate: float) -> ModelVersion:
        """Stage one at another learning rate."""
        settings = replace(self.settings.stage_one, learning_rate=rate)
        return train_stage_one(self._inputs(), self.pairs.pairs, settings=settings)

    def one_style(self) -> ModelVersion:
        """Stage one on the plain questions alone, or those of the most frequent style; other pairs in proportion."""
        styles = Counter(question.style for question in self._candidates.questions)
        style = PLAIN if PLAIN in styles else max(styles, key=lambda name: styles[name], default=PLAIN)
        questions = [question for question in self._candidates.questions if question.style == style]
        candidates = replace(self._candidates, questions=questions)
        return self._trained_on(self._chosen(self.settings.pairs, candidates))

    def no_structural_pairs(self) -> ModelVersion:
        """Stage one on questions and user pairs alone."""
        return self._trained_on(self._chosen(replace(self.settings.pairs, structural_share=0.0, structural_floor=0)))

    def second(self, *, use_clusters: bool = True, **mining: float | bool) -> ModelVersion:
        """Stage two after mining with other settings."""
        inputs = self._inputs() if use_clusters else self._inputs({})
        settings = replace(self.settings.mining, **mining)
        encoder = self.workspace.registry.encoder(self.one.model_version)
        negatives = mine_hard_negatives(
            encoder, self.data.corpus, self.pairs.pairs, clusters=inputs.clusters, settings=settings
        )
        return train_stage_two(inputs, self.one, negatives, settings=self.settings.stage_two)

    def blended(self, weight: float) -> ModelVersion:
        """Stage two's weights mixed with the base's."""
        return blend_version(self._inputs(), self.two, weight)

    def _trained_on(self, pairs: TrainingPairs) -> ModelVersion:
        inputs = training_inputs(self.workspace, self.data, pairs)
        return train_stage_one(inputs, pairs.pairs, settings=self.settings.stage_one)

    def _chosen(self, settings: TrainingPairSettings, candidates: PairCandidates | None = None) -> TrainingPairs:
        return choose_pairs(self.data, candidates or self._candidates, encoder=self._encoder, settings=settings)

    @property
    def _encoder(self) -> Encoder:
        return self.workspace.registry.encoder(self.base.model_version)

    def _inputs(self, clusters: Mapping[str, str] | None = None) -> TrainingInputs:
        inputs = training_inputs(self.workspace, self.data, self.pairs)
        return inputs if clusters is None else replace(inputs, clusters=clusters)


def _ingredients() -> dict[str, tuple[str | None, Callable[[_Trainings], ModelVersion]]]:
    """Reference and training by the name of the row; references come first."""
    rate = TutorialSettings().learning_rate
    first = {
        "random batches": _Trainings.random_batches,
        f"learning rate {rate:g}": lambda trainings: trainings.with_rate(rate),
        "questions of one style": _Trainings.one_style,
        "no structural pairs": _Trainings.no_structural_pairs,
    }
    second = {
        "no margin": lambda trainings: trainings.second(relative_margin=-10.0),
        "no exclusion by cluster or document": lambda trainings: trainings.second(
            use_clusters=False, exclude_same_document=False
        ),
        **{
            f"blend, {weight:g} of it": lambda trainings, weight=weight: trainings.blended(weight)
            for weight in CandidateSettings().blend_weights
        },
    }
    return {
        "base model": (None, lambda trainings: trainings.base),
        FIRST: ("base model", lambda trainings: trainings.one),
        **{name: (FIRST, train) for name, train in first.items()},
        SECOND: (FIRST, lambda trainings: trainings.two),
        **{name: (SECOND, train) for name, train in second.items()},
    }
