"""Does filtering help? Stage one trained with and without each filter, compared on the dev queries.

What belongs here: what each filter drops on one set, and what that is worth. What does not: how pairs are filtered (the
pairs room). The test queries are never touched: which filters are on is chosen by this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from domain_embed_pipeline.bench.deployment import (
    PAIRS,
    BenchData,
    BenchWorkspace,
    choose_pairs,
    dev_results,
    load_candidates,
    load_data,
    open_workspace,
    training_inputs,
)
from domain_embed_pipeline.bench.records import BenchSettings
from domain_embed_pipeline.bench.running import artifacts_of, jobs_of
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.evaluation.records import MetricDifference, QueryResult, means
from domain_embed_pipeline.evaluation.statistics import paired_differences
from domain_embed_pipeline.pairs.filters.settings import FILTER_NAMES
from domain_embed_pipeline.pairs.records import DropCount, TrainingPairs
from domain_embed_pipeline.pairs.training_pairs import TrainingPairSettings
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline.training.stages import train_stage_one

METRIC = "recall_at_5"
DEFAULT, NOTHING, ROUND_TRIP = "as by default", "without any filter", "with the round trip"


@dataclass(frozen=True, slots=True)
class AblationSettings:
    """What is tried, and when it is worth a training."""

    train: bool = False
    """Train and measure; otherwise only what each filter drops is counted."""
    round_trip_max_rank: int = 200
    """Bound of the variant that adds the round trip, which is tried only when training."""
    minimum_change: float = 0.005
    """Share of pairs by which a variant must differ from the default to be worth a training."""


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One choice of filters."""

    name: str
    pair_count: int
    more_pairs: int
    """Pairs that the default leaves out."""
    fewer_pairs: int
    """Pairs that only the default has."""
    recall_at_5: float | None = None
    """On dev, by vectors; None when nothing was trained."""
    difference: MetricDifference | None = None
    """From the default, paired by query."""


@dataclass(frozen=True, slots=True)
class AblationResult:
    """What the table shows."""

    chunk_count: int
    dev_query_count: int
    drops: tuple[DropCount, ...]
    """By reason, with the default filters."""
    variants: tuple[VariantResult, ...]
    """The default first."""


def run_ablation(
    bench: BenchSettings,
    settings: AblationSettings | None = None,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> AblationResult:
    """Choose pairs with and without each filter, and train and measure those choices that differ.

    Args:
        bench: What to choose from. Without recorded questions headings, sentences and train judgments are the pairs;
            trainings that its artifacts hold are not done again.
        settings: Counting alone when not given.
        tell: Called with a line a variant.

    Raises:
        EvaluationSetError: If the folder has no usable queries.
        TooFewPairsError: If a variant leaves too few pairs to train on.
    """
    settings = settings or AblationSettings()
    with artifacts_of(bench) as artifacts:
        (job,) = jobs_of(replace(bench, recipes=("ablation",)), artifacts)
        workspace = open_workspace(job, Stopwatch())
        data = load_data(workspace)
        chosen = _choose(settings, workspace, data, job.questions)
        default = chosen[DEFAULT]
        rows: list[VariantResult] = []
        reference: Sequence[QueryResult] = ()
        for name, pairs in chosen.items():
            row = _counted(name, pairs, default)
            changed = row.more_pairs + row.fewer_pairs > settings.minimum_change * len(default.pairs)
            tell(f"{name}: {row.pair_count} pairs, {row.more_pairs} more and {row.fewer_pairs} fewer")
            if settings.train and (name == DEFAULT or changed):
                results = _trained(workspace, data, pairs, bench.seed)
                reference = reference or results
                row = _measured(row, results, reference)
                tell(f"{name}: dev Recall@5 {row.recall_at_5:.4f}")
            rows.append(row)
        dev_count = len(data.queries.queries_of("dev"))
        return AblationResult(len(data.corpus.chunks), dev_count, default.drops, tuple(rows))


def _variants(settings: AblationSettings) -> dict[str, TrainingPairSettings]:
    filters = PAIRS.filters
    choices = {DEFAULT: filters, NOTHING: filters.without(FILTER_NAMES)}
    choices |= {f"without {name}": filters.without([name]) for name in FILTER_NAMES}
    if settings.train:
        choices[ROUND_TRIP] = replace(filters, round_trip_max_rank=settings.round_trip_max_rank)
    return {name: replace(PAIRS, filters=choice) for name, choice in choices.items()}


def _choose(
    settings: AblationSettings, workspace: BenchWorkspace, data: BenchData, questions: str | None
) -> dict[str, TrainingPairs]:
    """Training pairs of every variant; paraphrases of dev and test queries are looked for only before a training."""
    candidates = load_candidates(workspace, data, questions).pairs
    encoder = workspace.registry.encoder(workspace.base_model.model_version) if settings.train else None
    return {
        name: choose_pairs(data, candidates, encoder=encoder, settings=choice)
        for name, choice in _variants(settings).items()
    }


def _counted(name: str, pairs: TrainingPairs, default: TrainingPairs) -> VariantResult:
    mine, theirs = ({pair.pair_id for pair in made.pairs} for made in (pairs, default))
    return VariantResult(name, len(mine), len(mine - theirs), len(theirs - mine))


def _trained(workspace: BenchWorkspace, data: BenchData, pairs: TrainingPairs, seed: int) -> tuple[QueryResult, ...]:
    """Dev results of stage one on these pairs."""
    inputs = training_inputs(workspace, data, pairs)
    version = train_stage_one(inputs, pairs.pairs, settings=TrainingSettings(seed=seed))
    return dev_results(workspace, data, version)


def _measured(row: VariantResult, results: Sequence[QueryResult], reference: Sequence[QueryResult]) -> VariantResult:
    mean = means(results, (METRIC,))[METRIC]
    difference = None if results is reference else paired_differences(results, reference, (METRIC,))[0]
    return replace(row, recall_at_5=mean, difference=difference)
