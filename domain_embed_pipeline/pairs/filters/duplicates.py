"""The same question asked twice, and the same question claimed by two chunks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from domain_embed_pipeline.pairs.filters.base import Verdict, preference, rejection
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.pairs.shingles import comparison_key, words_of
from domain_embed_pipeline.records import TrainingPair

_TRIGRAM = 3
# In larger clusters (a template) only the questions of one chunk are compared, or the time would be quadratic.
_LARGEST_CLUSTER = 50


def duplicates(
    pairs: Sequence[TrainingPair],
    *,
    settings: FilterSettings,
    chunk_clusters: Mapping[str, str],
    chunk_sections: Mapping[str, str] | None = None,
) -> FilterResult:
    """Drop repeated anchors: across the corpus by their words, within a cluster of chunks by likeness.

    - `duplicate`: the same words for the same cluster of chunks; the pair of the better source stays.
    - `ambiguous`: the same words for different clusters; all go, since each would be a false negative of the other.
      Within one section, which was cut in two, one of them stays.
      The user's own pairs are spared, because relevance to several chunks is what the user says, and outweigh others.
    - `near_duplicate`: the same words in another order or nearly the same characters, within one cluster. Across
      clusters nearly the same is not the same: "dose of A" and "dose of B" are two questions.

    Args:
        pairs: Pairs of any source.
        settings: Thresholds.
        chunk_clusters: `chunk_id -> cluster id`.
        chunk_sections: `chunk_id -> section`, any name that the chunks of one section share.
    """
    sections = chunk_sections or {}
    verdicts: dict[int, Verdict] = {}
    ranked = sorted(range(len(pairs)), key=lambda index: preference(pairs[index]))
    groups: dict[str, list[int]] = defaultdict(list)
    for index in ranked:
        groups[comparison_key(pairs[index].anchor)].append(index)
    for group in groups.values():
        clusters = {chunk_clusters[pairs[index].chunk_id] for index in group}
        named = {sections.get(pairs[index].chunk_id, pairs[index].chunk_id) for index in group}
        _judge_same_words(group, pairs, verdicts, answer_count=min(len(clusters), len(named)))
    sizes = Counter(chunk_clusters.values())
    near: dict[str, list[int]] = defaultdict(list)
    for index in ranked:
        if index not in verdicts:
            chunk_id = pairs[index].chunk_id
            cluster_id = chunk_clusters[chunk_id]
            near[cluster_id if sizes[cluster_id] <= _LARGEST_CLUSTER else chunk_id].append(index)
    for group in near.values():
        _judge_like_words(group, pairs, settings, verdicts)
    return FilterResult(
        tuple(pair for index, pair in enumerate(pairs) if index not in verdicts),
        tuple(rejection(pairs[index], *verdict) for index, verdict in sorted(verdicts.items())),
    )


def _judge_same_words(
    group: list[int], pairs: Sequence[TrainingPair], verdicts: dict[int, Verdict], *, answer_count: int
) -> None:
    """Of pairs with the same words in the anchor: the user's own, else one, else none. Best pair first in `group`."""
    has_own = pairs[group[0]].source == "user"
    kept_ids: set[str] = set()
    for index in group:
        pair = pairs[index]
        if not has_own and answer_count > 1:
            verdicts[index] = ("ambiguous", f"asked of {answer_count} different chunks")
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
    kept: list[_Seen] = []
    for index in group:
        seen = _Seen(pairs[index].anchor)
        # "hepatitis A" and "hepatitis C" look alike; what the user's own queries ask is for the user to say.
        is_own = pairs[index].source == "user"
        twin = None if is_own else next((other for other in kept if other.is_like(seen, settings)), None)
        if twin is None:
            kept.append(seen)
        else:
            verdicts[index] = ("near_duplicate", twin.anchor)


class _Seen:
    """An anchor in the forms in which it is compared."""

    def __init__(self, anchor: str) -> None:
        words = words_of(anchor)
        self.anchor = anchor
        self.key = " ".join(words)
        self.words = sorted(words)
        self.trigrams = {self.key[start : start + _TRIGRAM] for start in range(max(1, len(self.key) - _TRIGRAM + 1))}

    def is_like(self, other: _Seen, settings: FilterSettings) -> bool:
        """The same words in any order, or enough shared trigrams of characters (Jaccard)."""
        if self.words == other.words:
            return True
        # The ratio of sizes bounds the Jaccard from above and costs nothing.
        smaller, larger = sorted((len(self.trigrams), len(other.trigrams)))
        if smaller < settings.near_duplicate_share * larger:
            return False
        shared = len(self.trigrams & other.trigrams)
        return shared >= settings.near_duplicate_share * (smaller + larger - shared)
