"""Pairs with a side that is too short to mean anything."""

from __future__ import annotations

from collections.abc import Sequence

from domain_embed_pipeline.pairs.filters.base import Verdict, drop_where
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.pairs.shingles import words_of
from domain_embed_pipeline.records import TrainingPair


def too_short(pairs: Sequence[TrainingPair], *, settings: FilterSettings) -> FilterResult:
    """Drop fragments: `too_short` (anchor) and `passage_too_short`."""

    def verdict(pair: TrainingPair) -> Verdict | None:
        """The passage first: no anchor saves a pair without text to find."""
        if len(pair.positive.strip()) < settings.minimum_characters:
            return "passage_too_short", pair.positive[:100]
        anchor = pair.anchor.strip()
        words = words_of(anchor)
        if len(anchor) < _shortest(pair, settings) or not any(character.isalpha() for character in anchor):
            return "too_short", anchor
        # Scripts without spaces count characters as words, so two of them pass as two words.
        if pair.source == "question" and len(words) < settings.minimum_query_words:
            return "too_short", anchor
        return None

    return drop_where(pairs, verdict)


def _shortest(pair: TrainingPair, settings: FilterSettings) -> int:
    if pair.source == "adjacent_sentence":
        return settings.minimum_characters
    if pair.source == "user":
        return settings.minimum_user_characters
    shortest = settings.minimum_title_characters if pair.source == "title_body" else settings.minimum_query_characters
    # Four CJK characters say as much as eight Latin letters.
    return shortest // (1 if pair.anchor.isascii() else 2)
