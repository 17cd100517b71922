"""The same question asked twice, and the same question claimed by two chunks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from domain_embed_pipeline.pairs.filters.base import Verdict, preference, rejection
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.pairs.shingles import jaccard, shingle_hashes, words_of
from domain_embed_pipeline.records import TrainingPair

_TRIGRAM = 3


def duplicates(
    pairs: Sequence[TrainingPair], *, settings: FilterSettings, chunk_clusters: Mapping[str, str]
) -> FilterResult:
    """Drop repeated anchors: across the corpus by their words in any order, within a cluster of chunks by likeness.

    - `duplicate`: the same words for the same cluster of chunks; the pair of the better source stays.
    - `ambiguous`: the same words for different clusters; all go, since each would be a false negative of the other.
      The user's own pairs are spared, because relevance to several chunks is what the user says, and outweigh others.
    - `near_duplicate`: nearly the same characters within one cluster. Across clusters nearly the same is not the same:
      "dose of A" and "dose of B" are two questions.

    Args:
        pairs: Pairs of any source.
        settings: Thresholds.
        chunk_clusters: `chunk_id -> cluster id`.
    """
    verdicts: dict[int, Verdict] = {}
    ranked = sorted(range(len(pairs)), key=lambda index: preference(pairs[index]))
    groups: dict[str, list[int]] = defaultdict(list)
    for index in ranked:
        groups[" ".join(sorted(words_of(pairs[index].anchor)))].append(index)
    for group in groups.values():
        _judge_same_words(group, pairs, chunk_clusters, verdicts)
    by_cluster: dict[str, list[int]] = defaultdict(list)
    for index in ranked:
        if index not in verdicts:
            by_cluster[chunk_clusters[pairs[index].chunk_id]].append(index)
    for group in by_cluster.values():
        _judge_like_words(group, pairs, settings, verdicts)
    return FilterResult(
        tuple(pair for index, pair in enumerate(pairs) if index not in verdicts),
        tuple(rejection(pairs[index], *verdict) for index, verdict in sorted(verdicts.items())),
    )


def _judge_same_words(
    group: list[int], pairs: Sequence[TrainingPair], chunk_clusters: Mapping[str, str], verdicts: dict[int, Verdict]
) -> None:
    """Of pairs with the same words in the anchor: the user's own, else one, else none. Best pair first in `group`."""
    clusters = {chunk_clusters[pairs[index].chunk_id] for index in group}
    has_own = pairs[group[0]].source == "user"
    kept_ids: set[str] = set()
    for index in group:
        pair = pairs[index]
        if not has_own and len(clusters) > 1:
            verdicts[index] = ("ambiguous", f"asked of {len(clusters)} different chunks")
        elif pair.pair_id in kept_ids or (kept_ids and pair.source != "user"):
            verdicts[index] = ("duplicate", pairs[group[0]].anchor)
        else:
            kept_ids.add(pair.pair_id)


def _judge_like_words(
    group: list[int], pairs: Sequence[TrainingPair], settings: FilterSettings, verdicts: dict[int, Verdict]
) -> None:
    """Of pairs of one cluster: each that is not nearly the same as a better one."""
    if len(group) == 1:
        return
    kept: list[tuple[str, np.ndarray]] = []
    for index in group:
        anchor = pairs[index].anchor
        trigrams = shingle_hashes(list(" ".join(words_of(anchor))), _TRIGRAM)
        # A user's query may name several chunks of one cluster; those pairs have one anchor.
        twin = next((other for other, seen in kept if other != anchor and _is_like(seen, trigrams, settings)), None)
        if twin is None:
            kept.append((anchor, trigrams))
        else:
            verdicts[index] = ("near_duplicate", twin)


def _is_like(left: np.ndarray, right: np.ndarray, settings: FilterSettings) -> bool:
    smaller, larger = sorted((left.size, right.size))
    return smaller >= settings.near_duplicate_share * larger and jaccard(left, right) >= settings.near_duplicate_share
