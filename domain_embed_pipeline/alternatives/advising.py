"""A finished comparison with what surrounds it: general ability, alternatives with their price, one advice.

What belongs here: putting the parts together. What does not: the parts (`measuring`, `evaluation.guards`,
`evaluation.comparators`). Nothing here changes the verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.alternatives.measuring import MeasuredAlternatives, version_latency_ms
from domain_embed_pipeline.evaluation.comparators import Workload, alternatives_of, comparator_table, recommend
from domain_embed_pipeline.evaluation.guards import GuardSet, compare_on_guards
from domain_embed_pipeline.evaluation.records import Comparison, Evaluation
from domain_embed_pipeline.registry.versions import ModelRegistry


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a comparison is seen in."""

    registry: ModelRegistry
    measured: MeasuredAlternatives
    guards: Sequence[GuardSet]
    workload: Workload
    latencies: Path
    """Folder of times that were measured before."""


def advise(comparison: Comparison, base: Evaluation, candidate: Evaluation, around: Surroundings) -> Comparison:
    """The comparison with general ability, alternatives and advice filled in.

    Raises:
        EvaluationError: If the alternatives were measured on other queries.
    """
    registry, texts = around.registry, [row.text for row in base.query_results]
    lines = list(around.measured.alternatives())
    for evaluation, tuned in ((base, False), (candidate, True)):
        latency = version_latency_ms(registry, evaluation.model_version, texts, around.latencies)
        terms = around.measured.terms_per_chunk
        lines += alternatives_of(evaluation, tuned=tuned, latency_ms=latency, terms_per_chunk=terms)
    table = comparator_table(lines, workload=around.workload)
    ours, theirs = (registry.encoder(evaluation.model_version) for evaluation in (candidate, base))
    return dataclasses.replace(
        comparison,
        general_ability=compare_on_guards(ours, theirs, around.guards),
        comparators=table,
        recommendation=recommend(table, comparison=comparison, workload=around.workload),
    )
