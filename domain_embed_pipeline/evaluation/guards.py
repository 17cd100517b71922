"""General ability: how a model does on texts of other domains than the one it was tuned for.

What belongs here: the score of a model on a guard set, and two models side by side. What does not: reading guard sets
from disk (`alternatives.guard_sets`), and refusing a model for what it forgot: that is for people to weigh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.evaluate import EvaluationSettings, evaluate_model
from domain_embed_pipeline.evaluation.fusion import DENSE
from domain_embed_pipeline.evaluation.records import GuardResult, QueryResult, Verdict, means
from domain_embed_pipeline.evaluation.statistics import ResamplingSettings, paired_differences, significance_of
from domain_embed_pipeline.records import Corpus, EvaluationSet

GUARD_METRIC = "ndcg_at_10"
"""It moves with every rank: on easy texts nearly all answers are among the first five, whatever was forgotten."""


@dataclass(frozen=True, slots=True)
class GuardSet:
    """Passages and judged queries of another domain; all queries are test queries."""

    name: str
    corpus: Corpus
    queries: EvaluationSet


def guard_rows(encoder: Encoder, guard: GuardSet) -> tuple[QueryResult, ...]:
    """Results per query, by vectors alone over the whole guard set.

    Raises:
        EvaluationError: If the set has no test query.
    """
    found = evaluate_model(
        encoder,
        corpus=guard.corpus,
        evaluation_set=guard.queries,
        split="test",
        clusters={},
        settings=EvaluationSettings(mode=DENSE),
    )
    return found.query_results


def guard_score(encoder: Encoder, guard: GuardSet) -> float:
    """Mean nDCG@10 by vectors alone, from 0 to 1; errors of `guard_rows`."""
    return means(guard_rows(encoder, guard), (GUARD_METRIC,))[GUARD_METRIC]


def compare_on_guards(
    candidate: Encoder,
    base: Encoder,
    guards: Sequence[GuardSet],
    *,
    settings: ResamplingSettings | None = None,
) -> tuple[GuardResult, ...]:
    """What fine-tuning did to general ability, one line per guard set; errors of `guard_rows`."""
    results = []
    for guard in guards:
        ours, theirs = guard_rows(candidate, guard), guard_rows(base, guard)
        (difference,) = paired_differences(ours, theirs, [GUARD_METRIC], settings=settings)
        verdicts: dict[int, Verdict] = {1: "better", 0: "not_shown", -1: "worse"}
        results.append(
            GuardResult(
                name=guard.name,
                metric=GUARD_METRIC,
                query_count=len(ours),
                reference=difference.reference,
                candidate=difference.candidate,
                difference=difference.difference,
                interval_low=difference.interval_low,
                interval_high=difference.interval_high,
                p_value=difference.p_value,
                verdict=verdicts[significance_of(difference)],
            )
        )
    return tuple(results)
