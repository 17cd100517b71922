"""Figures and modes in words that a reader without statistics understands; used by verdicts and reports alike."""

from __future__ import annotations

import dataclasses

from domain_embed_pipeline.evaluation.records import Comparison, MetricDifference, RetrievalMode, Verdict
from domain_embed_pipeline.evaluation.statistics import significance_of

VERDICT_TITLES: dict[Verdict, str] = {
    "better": "Better: fit to go live",
    "not_shown": "Not shown to be better: keep what is live",
    "worse": "Worse: keep what is live",
}
_FAMILIES = {"recall": "Recall", "hit": "Hit", "mrr": "MRR", "ndcg": "nDCG"}


def metric_name(metric: str) -> str:
    """`recall_at_5` as people write it: Recall@5."""
    family, _, k = metric.partition("_at_")
    return f"{_FAMILIES.get(family, family)}@{k}"


def mode_name(mode: RetrievalMode) -> str:
    """A retrieval mode in a few words."""
    if mode.expanded:
        return f"{mode_name(dataclasses.replace(mode, expanded=False))}, chunks expanded by their questions"
    if mode.kind == "dense":
        return "vectors"
    if mode.kind == "sparse":
        return "BM25"
    fusion = "standardised scores" if mode.fusion == "dbsf" else f"ranks, k {mode.rrf_k}"
    return f"vectors + BM25 (fused by {fusion}; BM25 weight {mode.sparse_weight:g})"


def describe_difference(difference: MetricDifference) -> str:
    """One sentence: before, after, gain, interval, p-value, wins and losses."""
    p_value = "p < 0.001" if difference.p_value < 0.001 else f"p = {difference.p_value:.3f}"
    return (
        f"{metric_name(difference.metric)} {difference.reference:.3f} → {difference.candidate:.3f} "
        f"({difference.difference:+.3f}, 95% interval {difference.interval_low:+.3f} to "
        f"{difference.interval_high:+.3f}, {p_value}; {difference.wins} queries better, {difference.losses} worse)."
    )


def headline(comparison: Comparison) -> list[str]:
    """The verdict in sentences for somebody who has never heard of recall."""
    against = comparison.against_base
    primary = next(item for item in against.differences if item.metric == comparison.primary_metric)
    before, after = "at best without fine-tuning", "with it"
    if comparison.against_expanded_base:
        before, after = "with the base model as it is", "with the fine-tuned model and questions in the index"
    sentences = [
        f"{_what(comparison.primary_metric)}: {primary.reference:.0%} {before}, {primary.candidate:.0%} {after}.",
        _certainty(primary, comparison.query_count),
    ]
    if comparison.against_expanded_base:
        found = comparison.against_expanded_base.differences
        alone = next(item for item in found if item.metric == comparison.primary_metric)
        sentences.append(
            f"The base model with the same questions in the index reaches {alone.reference:.0%}: what fine-tuning adds "
            f"to that is {100 * alone.difference:+.1f} points. {_certainty(alone, comparison.query_count)}"
        )
    if comparison.against_serving:
        live = next(item for item in comparison.against_serving.differences if item.metric == comparison.primary_metric)
        sentences.append(f"What is live now reaches {live.reference:.0%}. {_certainty(live, comparison.query_count)}")
    return sentences


def _what(metric: str) -> str:
    family, _, k = metric.partition("_at_")
    if family == "recall":
        return f"Share of the right passages among the first {k} results"
    if family == "hit":
        return f"Queries with a right passage among the first {k} results"
    return f"{metric_name(metric)}, a score from 0 to 100 %"


def _certainty(difference: MetricDifference, query_count: int) -> str:
    low, high = (f"{100 * value:+.1f}" for value in (difference.interval_low, difference.interval_high))
    spread = f"95% interval {low} to {high} points, measured on {query_count:,} queries"
    match significance_of(difference):
        case 1:
            return f"The gain is more than chance explains ({spread})."
        case -1:
            return f"The loss is more than chance explains ({spread})."
        case _:
            return f"Whether that is a real change cannot be told ({spread})."
