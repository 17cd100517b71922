"""Choosing the candidate on dev: base, stage one, stage two and blends; the simplest within noise of the best wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain_embed_pipeline.training.dev_set import DevScore, standard_error


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """One contender on dev."""

    model_version: str
    kind: str
    simplicity: int
    """0 for the base; the more training and mixing, the larger."""
    dev_recall_at_5: float
    dev_ndcg_at_10: float
    selection: float
    difference_from_best: float
    standard_error: float
    """Of the paired difference from the best."""
    chosen: bool


def choose_candidate(
    contenders: Sequence[tuple[str, str, int, DevScore]], *, tolerance: float
) -> tuple[CandidateScore, ...]:
    """Score contenders and mark the one that wins.

    Args:
        contenders: (model version, kind, simplicity, dev score), all on the same dev queries.
        tolerance: The simplest contender wins whose selection score is within this many standard errors (of the
            paired per-query difference) of the best one's. This is the one-standard-error rule of Breiman et al.
            (Classification and Regression Trees, 1984) on paired differences.
    """
    best = max(contenders, key=lambda contender: (_mean(contender[3].selection), -contender[2]))
    rows: list[tuple[tuple[str, str, int, DevScore], float, float]] = []
    for contender in contenders:
        differences = [mine - top for mine, top in zip(contender[3].selection, best[3].selection, strict=True)]
        rows.append((contender, _mean(differences), standard_error(differences)))
    within = [row for row in rows if row[1] >= -tolerance * row[2]]
    winner = min(within, key=lambda row: (row[0][2], -row[1]))
    return tuple(
        CandidateScore(
            model_version=version,
            kind=kind,
            simplicity=simplicity,
            dev_recall_at_5=_mean(score.recall_at_5),
            dev_ndcg_at_10=_mean(score.ndcg_at_10),
            selection=_mean(score.selection),
            difference_from_best=difference,
            standard_error=error,
            chosen=version == winner[0][0],
        )
        for (version, kind, simplicity, score), difference, error in rows
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
