"""How often the verdict is wrong, by simulation from real results.

`data/paired_results.csv` holds Recall@5 and nDCG@10 of 817 real queries in 161 clusters of documents under two
retrievers, of which the second gains 15 points. Clusters are drawn with replacement; swapping the retrievers at random
by cluster gives two equally good ones that disagree as much as real ones do, and using the second for a share of the
queries gives a gain of known size.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.evaluation.comparison import ComparisonSettings, judge
from domain_embed_pipeline.evaluation.metrics import query_result
from domain_embed_pipeline.evaluation.records import QueryResult
from domain_embed_pipeline.evaluation.statistics import ResamplingSettings, paired_differences

SIMULATIONS = 1000
METRICS = ("recall_at_5", "ndcg_at_10")
Drawn = tuple[int, np.ndarray, np.ndarray]
"""Number of a cluster, then the measures of its queries under reference and candidate."""


class Simulation:
    def __init__(self) -> None:
        path = Path(__file__).parent / "data" / "paired_results.csv"
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.base, self.tuned = (
            np.array([[float(row[f"{side}_{metric}"]) for metric in METRICS] for row in rows])
            for side in ("base", "tuned")
        )
        cluster = np.array([int(row["cluster"]) for row in rows])
        self.members = [np.flatnonzero(cluster == number) for number in range(cluster.max() + 1)]
        self.gain = float((self.tuned - self.base)[:, 0].mean())

    def equally_good(self, generator: np.random.Generator, count: int) -> Iterator[Drawn]:
        for number, members in self._drawn(generator, count):
            reference, candidate = self.base[members], self.tuned[members]
            yield number, *((candidate, reference) if generator.random() < 0.5 else (reference, candidate))

    def better_by(self, points: float, generator: np.random.Generator, count: int) -> Iterator[Drawn]:
        for number, members in self._drawn(generator, count):
            changed = generator.random(len(members)) < points / self.gain
            yield number, self.base[members], np.where(changed[:, None], self.tuned[members], self.base[members])

    def _drawn(self, generator: np.random.Generator, count: int) -> Iterator[tuple[int, np.ndarray]]:
        number = 0
        while count > 0:
            members = self.members[generator.integers(len(self.members))][:count]
            yield number, members
            number, count = number + 1, count - len(members)


def rows_of(values: np.ndarray, number: int) -> list[QueryResult]:
    blank = query_result("q", "", relevant={"a"}, retrieved=[], cluster_id=str(number))
    fields = {name: getattr(blank, name) for name in QueryResult.__slots__}  # pyright: ignore[reportAttributeAccessIssue]
    return [
        QueryResult(**fields | {"query_id": f"q-{number}-{place}"} | dict(zip(METRICS, value.tolist(), strict=True)))
        for place, value in enumerate(values)
    ]


def share_called_better(simulated: Callable[[np.random.Generator, int], Iterator[Drawn]], count: int) -> float:
    better = 0
    for seed in range(SIMULATIONS):
        generator = np.random.default_rng(seed)
        reference, candidate = [], []
        for number, before, after in simulated(generator, count):
            reference += rows_of(before, number)
            candidate += rows_of(after, number)
        settings = ResamplingSettings(resamples=2000, seed=seed)
        differences = paired_differences(candidate, reference, METRICS, settings=settings)
        better += judge(differences, candidate, ComparisonSettings())[0] == "better"
    return better / SIMULATIONS


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 300, 800])
def test_of_two_equally_good_models_one_is_called_better_at_most_once_in_twenty(count: int) -> None:
    assert share_called_better(Simulation().equally_good, count) <= 0.05


@pytest.mark.slow
def test_a_true_gain_of_five_points_is_found_with_300_queries_four_times_in_five() -> None:
    simulation = Simulation()
    assert share_called_better(lambda *drawn: simulation.better_by(0.05, *drawn), 300) >= 0.8
