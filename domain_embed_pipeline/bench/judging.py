"""All rankings measured by one rule: same test queries, same relevant chunks, differences paired by query.

What does not belong here: where rankings come from (`recipes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain_embed_pipeline.bench.deployment import BenchData
from domain_embed_pipeline.bench.records import BenchLine, RankedLine
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.evaluate import clusters_of_chunks, measure_rankings
from domain_embed_pipeline.evaluation.records import RECALL_KS, QueryResult, Ranking, means
from domain_embed_pipeline.evaluation.statistics import paired_differences
from domain_embed_pipeline.pairs.references import ChunkReferences
from domain_embed_pipeline.pairs.shingles import comparison_key

METRICS = (*(f"recall_at_{k}" for k in RECALL_KS), "ndcg_at_10")


class Judge:
    """Measures rankings against one evaluation set."""

    def __init__(self, data: BenchData, query_texts: Mapping[str, str]) -> None:
        """`query_texts`: query id of the BEIR folder to its text; several may have the same text."""
        self._queries = data.queries.queries_of("test")
        self._relevant = data.queries.relevant_chunks()
        self._clusters = clusters_of_chunks(data.corpus, data.splits)
        self._references = ChunkReferences(data.corpus)
        self._names: dict[str, list[str]] = {}
        for query_id, text in query_texts.items():
            self._names.setdefault(comparison_key(text) or text, []).append(query_id)

    def measure(self, line: RankedLine) -> tuple[QueryResult, ...]:
        """Per-query results of a line, in the order of the test queries.

        Raises:
            EvaluationError: If the line answers not all test queries.
        """
        rankings = [self._ranking(line, query.query_id, query.text) for query in self._queries]
        return measure_rankings(rankings, queries=self._queries, relevant=self._relevant, clusters=self._clusters)

    def _ranking(self, line: RankedLine, query_id: str, text: str) -> Ranking:
        names = [query_id, *self._names.get(comparison_key(text) or text, ())]
        found = next((line.rankings[name] for name in names if name in line.rankings), None)
        if found is None:
            raise EvaluationError(
                f"{line.name} has no ranking for the test query {query_id!r} ({text[:60]!r}).",
                fix="Run every recipe on the same BEIR folder.",
            )
        # Equal passages under several ids are one chunk for us: its best rank counts.
        chunks = [chunk.chunk_id for name in found for chunk in self._references.resolve(name)[:1]]
        distinct = tuple(dict.fromkeys(chunks))
        return Ranking(distinct, tuple(-float(place) for place in range(len(distinct))))


def judged_lines(judge: Judge, found: Sequence[tuple[str, RankedLine]], reference: str | None) -> tuple[BenchLine, ...]:
    """Means of every line, and its differences from the line that is named `reference`.

    Args:
        judge: Knows the queries.
        found: (recipe, line).
        reference: None when the reference was not run: then there are no differences.
    """
    results = [(recipe, line, judge.measure(line)) for recipe, line in found]
    against = next((rows for _, line, rows in results if line.name == reference), None)
    return tuple(
        BenchLine(
            recipe=recipe,
            name=line.name,
            mode=line.mode,
            metrics=means(rows, METRICS),
            differences=(
                () if against is None or line.name == reference else paired_differences(rows, against, METRICS)
            ),
        )
        for recipe, line, rows in results
    )
