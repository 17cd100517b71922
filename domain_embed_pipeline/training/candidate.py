"""Choosing the candidate on dev: base, stage one, stage two and blends; the simplest within noise of the best wins.

The base does not win by simplicity: it is the candidate only where no trained model is above it. With few dev queries
it would win nearly always, and it needs no such protection: a candidate that the verdict does not show to be better on
the test queries goes nowhere.

General ability is the second axis: among those within noise, one that forgot much more than another is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain_embed_pipeline.training.dev_set import DevScore, standard_error


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that may become the candidate."""

    model_version: str
    kind: str
    simplicity: int
    """0 for the base; the more training and mixing, the larger."""
    dev: DevScore
    """All contenders on the same dev queries."""
    guard_ndcg_at_10: float | None = None
    """Mean over guard sets of other domains; None where there is none."""


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """One contender on dev."""

    model_version: str
    kind: str
    simplicity: int
    dev_recall_at_5: float
    dev_ndcg_at_10: float
    selection: float
    difference_from_best: float
    standard_error: float
    """Of the paired difference from the best."""
    chosen: bool
    guard_ndcg_at_10: float | None = None


def choose_candidate(
    contenders: Sequence[Contender], *, tolerance: float, guard_tolerance: float = 1.0
) -> tuple[CandidateScore, ...]:
    """Score contenders and mark the one that wins.

    Args:
        contenders: At least one; guard scores of all or of none.
        tolerance: The simplest contender wins whose selection score is within this many standard errors (of the
            paired per-query difference) of the best one's. This is the one-standard-error rule of Breiman et al.
            (Classification and Regression Trees, 1984) on paired differences. The base (simplicity 0) wins
            only when it is the best itself, or when every other is set aside.
        guard_tolerance: Of those, one is set aside whose guard score is further than this under the best of theirs.
    """
    best = max(contenders, key=lambda contender: (_mean(contender.dev.selection), -contender.simplicity))
    rows: list[tuple[Contender, float, float]] = []
    for contender in contenders:
        pairs = zip(contender.dev.selection, best.dev.selection, strict=True)
        differences = [mine - top for mine, top in pairs]
        rows.append((contender, _mean(differences), standard_error(differences)))
    within = [row for row in rows if row[1] >= -tolerance * row[2]]
    most = max(_guard(contender) for contender, _, _ in within)
    kept = [row for row in within if _guard(row[0]) >= most - guard_tolerance]
    trained = [row for row in kept if row[0].simplicity > 0]
    eligible = trained if best.simplicity > 0 and trained else kept
    winner = min(eligible, key=lambda row: (row[0].simplicity, -row[1]))[0]
    return tuple(
        CandidateScore(
            model_version=contender.model_version,
            kind=contender.kind,
            simplicity=contender.simplicity,
            dev_recall_at_5=_mean(contender.dev.recall_at_5),
            dev_ndcg_at_10=_mean(contender.dev.ndcg_at_10),
            selection=_mean(contender.dev.selection),
            difference_from_best=difference,
            standard_error=error,
            chosen=contender.model_version == winner.model_version,
            guard_ndcg_at_10=contender.guard_ndcg_at_10,
        )
        for contender, difference, error in rows
    )


def _guard(contender: Contender) -> float:
    return contender.guard_ndcg_at_10 or 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
