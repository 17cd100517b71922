"""What every filter is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import PairSource, RejectedPair, TrainingPair

PairFilter = Callable[[Sequence[TrainingPair]], FilterResult]
Verdict = tuple[str, str]
"""Reason and detail of a drop."""

SOURCE_ORDER: tuple[PairSource, ...] = ("user", "question", "title_body", "adjacent_sentence")
"""Of two equal pairs the earlier source is kept."""


def rejection(pair: TrainingPair, reason: str, detail: str = "") -> RejectedPair:
    """The row that says why a pair was dropped."""
    return RejectedPair(pair.anchor, pair.chunk_id, pair.source, reason, detail)


def drop_where(pairs: Sequence[TrainingPair], verdict: Callable[[TrainingPair], Verdict | None]) -> FilterResult:
    """Drop each pair for which `verdict` names a reason; each pair is judged by itself."""
    kept: list[TrainingPair] = []
    dropped: list[RejectedPair] = []
    for pair in pairs:
        found = verdict(pair)
        if found is None:
            kept.append(pair)
        else:
            dropped.append(rejection(pair, *found))
    return FilterResult(tuple(kept), tuple(dropped))


def preference(pair: TrainingPair) -> tuple[int, str, str, str]:
    """Sort key: the pair to keep of several equal ones comes first, whatever the order in which they came."""
    return SOURCE_ORDER.index(pair.source), pair.pair_id, pair.chunk_id, pair.style
