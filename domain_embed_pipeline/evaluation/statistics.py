"""Whether a paired difference is more than chance.

What belongs here: cluster bootstrap, sign-flip permutation test, minimum detectable effect, Holm's correction. What
does not: words and verdicts (`comparison`).

Queries that the same documents answer rise and fall together, so whole clusters of them are drawn and flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain_embed_pipeline.errors import IncomparableError
from domain_embed_pipeline.evaluation.records import MetricDifference, MetricMean, QueryResult

SIGNIFICANCE = 0.05
_POWER_FACTOR = 1.959964 + 0.841621
"""Standard errors between no effect and one that is found in 80 % of trials by a two-sided test at 5 %."""
_ROWS_AT_ONCE = 1000
_NOISE = 1e-12


@dataclass(frozen=True, slots=True)
class ResamplingSettings:
    """How chance is imitated."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95


def paired_differences(
    candidate: Sequence[QueryResult],
    reference: Sequence[QueryResult],
    metrics: Sequence[str],
    *,
    settings: ResamplingSettings | None = None,
) -> tuple[MetricDifference, ...]:
    """Candidate minus reference for each metric, with percentile interval and two-sided p-value.

    Args:
        candidate: One row per query.
        reference: The same queries in the same order.
        metrics: Field names of `QueryResult`.
        settings: Resamples, seed and confidence.

    Raises:
        IncomparableError: If the rows are not of the same queries, or there are none.
    """
    settings = settings or ResamplingSettings()
    if not candidate or [row.query_id for row in candidate] != [row.query_id for row in reference]:
        raise IncomparableError(
            f"{len(candidate)} and {len(reference)} query results are not of the same queries.",
            fix="Evaluate both on the same split of the same evaluation set.",
        )
    new = np.array([[getattr(row, metric) for metric in metrics] for row in candidate])
    old = np.array([[getattr(row, metric) for metric in metrics] for row in reference])
    difference = new - old
    sums, counts = _by_cluster(difference, [row.cluster_id for row in candidate])
    means = _bootstrap_means(sums, counts, settings)
    p_values = _sign_flip_p_values(sums, settings)
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    # Where no query differs the spread is not 0 but too small to see: that of a single query which does.
    errors = np.maximum(means.std(axis=0, ddof=1), 1 / len(difference))
    return tuple(
        MetricDifference(
            metric=metric,
            reference=float(old[:, place].mean()),
            candidate=float(new[:, place].mean()),
            difference=float(difference[:, place].mean()),
            interval_low=float(low[place]),
            interval_high=float(high[place]),
            p_value=float(p_values[place]),
            minimum_detectable_effect=float(_POWER_FACTOR * errors[place]),
            wins=int((difference[:, place] > _NOISE).sum()),
            ties=int((np.abs(difference[:, place]) <= _NOISE).sum()),
            losses=int((difference[:, place] < -_NOISE).sum()),
        )
        for place, metric in enumerate(metrics)
    )


def mean_intervals(
    rows: Sequence[QueryResult], metrics: Sequence[str], *, settings: ResamplingSettings | None = None
) -> tuple[MetricMean, ...]:
    """Mean of each metric with its percentile interval, clusters of queries resampled."""
    settings = settings or ResamplingSettings()
    values = np.array([[getattr(row, metric) for metric in metrics] for row in rows])
    means = _bootstrap_means(*_by_cluster(values, [row.cluster_id for row in rows]), settings)
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return tuple(
        MetricMean(metric, float(values[:, place].mean()), float(low[place]), float(high[place]))
        for place, metric in enumerate(metrics)
    )


def significance_of(difference: MetricDifference) -> int:
    """1 or -1 when interval and p-value agree that the difference is real, 0 when they do not."""
    if difference.p_value >= SIGNIFICANCE:
        return 0
    return int(difference.interval_low > 0) - int(difference.interval_high < 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def _by_cluster(values: np.ndarray, cluster_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of each column and number of queries per cluster: shapes (clusters, metrics) and (clusters,)."""
    _, cluster = np.unique(np.asarray(cluster_ids), return_inverse=True)
    counts = np.bincount(cluster).astype(float)
    sums = np.stack([np.bincount(cluster, weights=column) for column in values.T], axis=1)
    return sums, counts


def _bootstrap_means(sums: np.ndarray, counts: np.ndarray, settings: ResamplingSettings) -> np.ndarray:
    """Mean per query of clusters drawn with replacement: shape (resamples, metrics)."""
    generator, clusters = np.random.default_rng(settings.seed), len(counts)
    table = np.column_stack([sums, counts])
    means = []
    for start in range(0, settings.resamples, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, settings.resamples - start)
        drawn = generator.integers(0, clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        totals = times @ table
        means.append(totals[:, :-1] / totals[:, -1:])
    return np.concatenate(means)


def _sign_flip_p_values(sums: np.ndarray, settings: ResamplingSettings) -> np.ndarray:
    """Share of random swaps of the two models, by cluster, that differ at least as much as was seen."""
    generator = np.random.default_rng(settings.seed + 1)
    seen, as_large = np.abs(sums.sum(axis=0)) - _NOISE, np.zeros(sums.shape[1])
    for start in range(0, settings.resamples, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, settings.resamples - start)
        signs = generator.integers(0, 2, size=(rows, len(sums))) * 2.0 - 1.0
        as_large += (np.abs(signs @ sums) >= seen).sum(axis=0)
    return (as_large + 1) / (settings.resamples + 1)
