"""Figures and modes in words that a reader without statistics understands; used by verdicts and reports alike."""

from __future__ import annotations

from domain_embed_pipeline.evaluation.records import MetricDifference, RetrievalMode

_FAMILIES = {"recall": "Recall", "hit": "Hit", "mrr": "MRR", "ndcg": "nDCG"}


def metric_name(metric: str) -> str:
    """`recall_at_5` as people write it: Recall@5."""
    family, _, k = metric.partition("_at_")
    return f"{_FAMILIES.get(family, family)}@{k}"


def mode_name(mode: RetrievalMode) -> str:
    """A retrieval mode in a few words."""
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
        f"({difference.difference:+.3f}, 95 % interval {difference.interval_low:+.3f} to "
        f"{difference.interval_high:+.3f}, {p_value}; {difference.wins} queries better, {difference.losses} worse)."
    )
