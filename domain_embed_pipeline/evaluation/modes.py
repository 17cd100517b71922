"""Choice of the retrieval mode on dev: dense, BM25 or both, with fusion and weight.

What belongs here: which modes are tried and by what rule one is chosen. What does not: computing a fused ranking
(`fusion`), judging the choice on test (`comparison`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.fusion import DENSE, SPARSE, served_ranking
from domain_embed_pipeline.evaluation.metrics import ndcg_at_k, recall_at_k
from domain_embed_pipeline.evaluation.records import NDCG_K, ModeScore, Ranking, RetrievalMode
from domain_embed_pipeline.evaluation.words import mode_name

logger = logging.getLogger(__name__)

DBSF_WEIGHTS = (0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""Equal steps of a factor 1.4, so that the curve over them is smooth and a weight can lean on its neighbours."""
RRF_KS = (2, 10, 60)
RRF_WEIGHTS = (0.26, 0.51, 1.01, 1.51)
"""Not round: at weight 0.5 the dense place 2 ties with the sparse place 1, and the server leaves ties to chance."""
_NEIGHBOURS = (0.25, 0.5, 0.25)
_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class ModeSettings:
    """How the mode is chosen."""

    recall_k: int = 5
    """k of the primary metric."""
    prefetch: int = 100
    """Candidates taken from each side before fusion."""
    few_queries: int = 100
    """Below this many dev queries only DBSF is tried: many modes on few queries are a lottery."""
    fewest_queries: int = 10
    """Below this many dev queries nothing can be told, and the mode that needs no choice is taken."""
    pull: float = 0.4
    """How strongly few queries hold the weight near 1: a weight pays `pull` * log2(weight)^2 / queries."""
    margin: float = 1.0
    """Standard errors by which dense or BM25 alone must beat the best hybrid to take its place."""


def unchosen_mode(settings: ModeSettings | None = None) -> RetrievalMode:
    """The mode where there are too few dev queries to choose: both sides, standardised, at equal weight.

    Against vectors alone, on dev queries of three specialist sets: +0.155, +0.011 and -0.003 Recall@5
    (docs/measurements.md).
    """
    return RetrievalMode("hybrid", "dbsf", 1.0, prefetch=(settings or ModeSettings()).prefetch)


def candidate_modes(dev_query_count: int, settings: ModeSettings) -> tuple[RetrievalMode, ...]:
    """The modes that are tried: dense, BM25, DBSF by rising weight, and RRF when there are queries enough."""
    dbsf = [RetrievalMode("hybrid", "dbsf", weight, prefetch=settings.prefetch) for weight in DBSF_WEIGHTS]
    rrf = [
        RetrievalMode("hybrid", "rrf", weight, k, settings.prefetch)
        for k in RRF_KS
        for weight in RRF_WEIGHTS
        if dev_query_count >= settings.few_queries
    ]
    return DENSE, SPARSE, *dbsf, *rrf


def choose_mode(
    dense: Sequence[Ranking],
    sparse: Sequence[Ranking],
    relevant: Sequence[Set[str]],
    *,
    expanded: tuple[Sequence[Ranking], Sequence[Ranking]] | None = None,
    settings: ModeSettings | None = None,
) -> RetrievalMode:
    """The mode that does best on dev, by a rule that few queries cannot fool easily; see `score_modes`.

    Args:
        dense: Dense ranking of each dev query, at least `settings.prefetch` long where the corpus allows.
        sparse: BM25 ranking of the same queries.
        relevant: Relevant chunk ids of the same queries.
        expanded: Dense and BM25 rankings over chunks expanded by their questions, where there are any.
        settings: How to choose.

    Raises:
        EvaluationError: If there is no dev query, or the three differ in length.
    """
    scores = score_modes(dense, sparse, relevant, expanded=expanded, settings=settings)
    return next(mode for mode, score in scores if score.chosen)


def score_modes(
    dense: Sequence[Ranking],
    sparse: Sequence[Ranking],
    relevant: Sequence[Set[str]],
    *,
    expanded: tuple[Sequence[Ranking], Sequence[Ranking]] | None = None,
    settings: ModeSettings | None = None,
) -> list[tuple[RetrievalMode, ModeScore]]:
    """Every mode tried with its means on dev, one of them chosen; arguments and errors of `choose_mode`.

    Modes are ranked by the mean of the primary metric and nDCG@10, which moves with every rank and so is less of a
    lottery than counting the first five. Among the DBSF weights each leans on its neighbours and is held near 1 the
    more, the fewer queries there are. RRF must beat the best of them, and dense or BM25 alone the best hybrid, by
    `margin` standard errors of the paired difference; either is taken where fusing changes no query. Modes over
    expanded chunks are chosen among likewise, and the winner must beat the one over plain chunks by as much.
    """
    settings = settings or ModeSettings()
    if not relevant or not len(dense) == len(sparse) == len(relevant):
        raise EvaluationError(
            f"A mode cannot be chosen on {len(relevant)} dev queries with {len(dense)} dense and {len(sparse)} BM25 "
            "rankings.",
            fix="Give an evaluation set with dev queries, or name the retrieval mode.",
        )
    modes = candidate_modes(len(relevant), settings)
    rows = [_measure(mode, dense, sparse, relevant, settings.recall_k) for mode in modes]
    plain = len(modes)
    if expanded is not None and len(relevant) >= settings.fewest_queries:
        rows += [_measure(mode, *expanded, relevant, settings.recall_k) for mode in modes]
        modes += tuple(dataclasses.replace(mode, expanded=True) for mode in modes)
    measures = np.array(rows)
    utility = measures.mean(axis=2)
    chosen = _choice(utility[:plain], modes[:plain], settings)
    if len(modes) > plain:
        challenger = plain + _choice(utility[plain:], modes[plain:], settings)
        chosen = challenger if _beats(utility[challenger], utility[chosen], settings.margin) else chosen
    means = measures.mean(axis=1)
    logger.info(
        "Retrieval mode chosen on %d dev queries: %s; Recall@%d %.3f, vectors alone %.3f.",
        *(len(relevant), mode_name(modes[chosen]), settings.recall_k, means[chosen, 0], means[0, 0]),
    )
    return [
        (mode, _score(mode, primary, ndcg, chosen=place == chosen))
        for place, (mode, (primary, ndcg)) in enumerate(zip(modes, means.tolist(), strict=True))
    ]


def _score(mode: RetrievalMode, primary: float, ndcg_at_10: float, *, chosen: bool) -> ModeScore:
    return ModeScore(
        mode.kind, mode.fusion, mode.sparse_weight, mode.rrf_k, primary, ndcg_at_10, chosen, expanded=mode.expanded
    )


def _measure(
    mode: RetrievalMode, dense: Sequence[Ranking], sparse: Sequence[Ranking], relevant: Sequence[Set[str]], k: int
) -> list[tuple[float, float]]:
    rows = []
    for dense_ranking, sparse_ranking, answers in zip(dense, sparse, relevant, strict=True):
        retrieved = served_ranking(mode, dense_ranking, sparse_ranking).chunk_ids
        rows.append((recall_at_k(answers, retrieved, k), ndcg_at_k(answers, retrieved, NDCG_K)))
    return rows


def _choice(utility: np.ndarray, modes: Sequence[RetrievalMode], settings: ModeSettings) -> int:
    """Place of the chosen mode; `utility` has shape (modes, queries)."""
    if utility.shape[1] < settings.fewest_queries:
        return modes.index(unchosen_mode(settings))
    chosen = _best_weight(utility, modes, settings)
    rrf = [place for place, mode in enumerate(modes) if mode.fusion == "rrf"]
    if rrf:
        best = rrf[int(np.argmax(utility[rrf].mean(axis=1).round(9)))]
        chosen = best if _beats(utility[best], utility[chosen], settings.margin) else chosen
    for simple in (0, 1):
        # Where fusing changes no query the simpler request is as good.
        same = np.allclose(utility[simple], utility[chosen], rtol=0, atol=_NOISE)
        if same or _beats(utility[simple], utility[chosen], settings.margin):
            return simple
    return chosen


def _best_weight(utility: np.ndarray, modes: Sequence[RetrievalMode], settings: ModeSettings) -> int:
    """The DBSF weight whose smoothed mean, less what its distance from 1 costs, is largest."""
    places = [place for place, mode in enumerate(modes) if mode.fusion == "dbsf"]
    means = utility[places].mean(axis=1)
    smoothed = np.convolve(np.pad(means, 1, mode="edge"), _NEIGHBOURS, mode="valid")
    distance = np.log2([modes[place].sparse_weight for place in places])
    return places[int(np.argmax((smoothed - settings.pull * distance**2 / utility.shape[1]).round(9)))]


def _beats(challenger: np.ndarray, standing: np.ndarray, margin: float) -> bool:
    difference = challenger - standing
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(difference.mean() > max(margin * error, _NOISE))
