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

logger = logging.getLogger(__name__)

DBSF_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
RRF_KS = (2, 10, 60)
RRF_WEIGHTS = (0.26, 0.51, 1.01, 1.51)
"""Not round: at weight 0.5 the dense place 2 ties with the sparse place 1, and the server leaves ties to chance."""


@dataclass(frozen=True, slots=True)
class ModeSettings:
    """How the mode is chosen."""

    recall_k: int = 5
    """k of the primary metric."""
    prefetch: int = 100
    """Candidates taken from each side before fusion."""
    few_queries: int = 50
    """Below this many dev queries only unweighted fusions are tried: many weights on few queries is a lottery."""
    fewest_queries: int = 10
    """Below this many dev queries nothing can be told, and dense stays."""


def candidate_modes(dev_query_count: int, settings: ModeSettings) -> tuple[RetrievalMode, ...]:
    """The modes that are tried, simplest first."""
    if dev_query_count < settings.fewest_queries:
        return (DENSE,)
    few = dev_query_count < settings.few_queries
    dbsf_weights = (1.0,) if few else DBSF_WEIGHTS
    rrf = ((2, 1.01),) if few else tuple((k, weight) for k in RRF_KS for weight in RRF_WEIGHTS)
    return (
        DENSE,
        SPARSE,
        *(RetrievalMode("hybrid", "dbsf", weight, prefetch=settings.prefetch) for weight in dbsf_weights),
        *(RetrievalMode("hybrid", "rrf", weight, k, settings.prefetch) for k, weight in rrf),
    )


def choose_mode(
    dense: Sequence[Ranking],
    sparse: Sequence[Ranking],
    relevant: Sequence[Set[str]],
    *,
    expanded: tuple[Sequence[Ranking], Sequence[Ranking]] | None = None,
    settings: ModeSettings | None = None,
) -> RetrievalMode:
    """The mode that did best on dev, where what is less simple must win by more than noise.

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
    lottery than counting the first five. Dense stays unless BM25 beats it by a standard error of the paired
    difference, what then stands stays unless the best hybrid beats it likewise, and that unless the best mode over
    expanded chunks does.
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
    if expanded is not None and len(modes) > 1:
        rows += [_measure(mode, *expanded, relevant, settings.recall_k) for mode in modes]
        modes += tuple(dataclasses.replace(mode, expanded=True) for mode in modes)
    measures = np.array(rows)
    chosen = _choice(measures.mean(axis=2), plain=sum(not mode.expanded for mode in modes))
    means = measures.mean(axis=1)
    logger.info(
        "Retrieval mode chosen on %d dev queries: %s; recall@%d %.3f, dense alone %.3f.",
        len(relevant),
        modes[chosen],
        settings.recall_k,
        means[chosen, 0],
        means[0, 0],
    )
    return [
        (
            mode,
            ModeScore(
                mode.kind,
                mode.fusion,
                mode.sparse_weight,
                mode.rrf_k,
                primary=float(means[place, 0]),
                ndcg_at_10=float(means[place, 1]),
                chosen=place == chosen,
                expanded=mode.expanded,
            ),
        )
        for place, mode in enumerate(modes)
    ]


def _measure(
    mode: RetrievalMode, dense: Sequence[Ranking], sparse: Sequence[Ranking], relevant: Sequence[Set[str]], k: int
) -> list[tuple[float, float]]:
    rows = []
    for dense_ranking, sparse_ranking, answers in zip(dense, sparse, relevant, strict=True):
        retrieved = served_ranking(mode, dense_ranking, sparse_ranking).chunk_ids
        rows.append((recall_at_k(answers, retrieved, k), ndcg_at_k(answers, retrieved, NDCG_K)))
    return rows


def _choice(utility: np.ndarray, *, plain: int) -> int:
    """Place of the chosen mode.

    `utility` has shape (modes, queries): `plain` modes with dense first and BM25 second, then those over expanded
    chunks.
    """
    challengers = [1, _best(utility, 2, plain)] if plain > 1 else []
    if len(utility) > plain:
        challengers.append(_best(utility, plain, len(utility)))
    chosen = 0
    for challenger in challengers:
        difference = utility[challenger] - utility[chosen]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() > max(error, 1e-9):
            chosen = challenger
    return chosen


def _best(utility: np.ndarray, start: int, end: int) -> int:
    """Place of the largest mean among the rows from `start` to `end`; the first of equals."""
    return start + int(np.argmax(utility[start:end].mean(axis=1).round(9)))
