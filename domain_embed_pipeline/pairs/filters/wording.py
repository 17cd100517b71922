"""Questions that no user would ask: about "this passage", copied from the chunk, or no question at all."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from domain_embed_pipeline.pairs.filters.base import Verdict, drop_where
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.pairs.shingles import containment, shingle_hashes, words_of
from domain_embed_pipeline.records import TrainingPair

_COPY_RUN = 4
_PART = "passage|text|excerpt|paragraph|snippet|chunk|article|section|chapter"
_SOURCE_WORD = rf"({_PART}|document|context|page|author|table|figure)s?"
_GIVEN = "(above|below|provided|given|following|preceding|previous|mentioned)"
_TOLD = "(mentioned|described|discussed|listed|outlined|stated|provided|given|shown|presented|explained|covered)"
_TELLS = "(about|describe|discuss|mention|say|state|explain|suggest|recommend|list|refer|cover|mean|focus)"
_ASKS = r"(what|who|which|why|how|where|when)\b.*\b(is|are|does|do|was|were|did|can)"


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_CONTEXT_DEPENDENT = _any_of(
    rf"\baccording to (the|this|that|these) ({_GIVEN} )?{_SOURCE_WORD}\b",
    rf"\b(this|these) ({_GIVEN} )?({_PART})s?\b",
    rf"\b{_ASKS} (this|the) {_SOURCE_WORD} {_TELLS}",
    rf"\b(the|this) {_GIVEN} {_SOURCE_WORD}\b",
    rf"\b{_TOLD} (in|by|above|below) (the|this) {_SOURCE_WORD}\b",
    rf"\b{_TOLD} (above|below|earlier|previously)\b",
    r"\bin the (passage|excerpt|snippet|chunk)\b",
    rf"\b(summari[sz]e|main (idea|topic|point|purpose|theme) of) (the|this) {_SOURCE_WORD}\b",
    r"\bthe author('s)? (say|state|mention|suggest|argue|mean|describe|view|opinion)",
)
_ARTIFACT = _any_of(
    r"\bas an? (ai|language) (language )?(model|assistant)\b",
    r"^\W*(i('m| am) (sorry|unable)|i can(no|')t|sorry,|unfortunately,? i)\b",
    r"^\W*(here (are|is)\b|(sure|certainly|okay)[,!])",
    r"^\W*(question|query|q|answer|a)\s*\d*\s*[:.)]\s",
    r"[\[{]\s*[\"']\w+[\"']\s*[:,\]]",  # JSON
    r"</?(p|br|div|span|b|i|em|strong|a|li|ul|h\d|text|question|query|answer|chunk|passage|document)\b[^<>]*/?>",
    r"&(nbsp|amp|lt|gt|quot);|```",
    r"\{\{\s*\w*\s*\}\}|\{(chunk|text|topic|question|query|title|passage|context)\}",  # placeholders
    r"\[(insert|your|placeholder|topic|name)\b[^\]]*\]",
    r"^\W*(n/?a|none|null|todo|tbd|test|untitled( document)?|no questions?( possible)?|not applicable)\W*$",
    r"lorem ipsum|\ufffd",
    r"^\W*(https?://|www\.)\S+\W*$",
)
_ANAPHORA = _any_of(
    r"^\W*(it|this|these|those|they|he|she|such|then|but|and|or|see|also)\b",
    r"^\W*(however|therefore|thus|moreover|furthermore|additionally|as a result)\b",
    r"^\W*(in addition|in contrast|for example|for instance)\b",
)


def artifacts(pairs: Sequence[TrainingPair], *, settings: FilterSettings) -> FilterResult:
    """Drop anchors that are not text for a search box (`artifact`): refusals, JSON, placeholders, markup, bare links.

    The user's own queries and sentences of the corpus are left alone: no model wrote them.
    """
    del settings

    def verdict(pair: TrainingPair) -> Verdict | None:
        """Only LLMs and headings bring artifacts; users' own words are theirs."""
        found = _ARTIFACT.search(pair.anchor) if pair.source in ("question", "title_body") else None
        return ("artifact", found.group()) if found else None

    return drop_where(pairs, verdict)


def context_dependent(pairs: Sequence[TrainingPair], *, settings: FilterSettings) -> FilterResult:
    """Drop anchors that need their chunk to be understood (`context_dependent`), and sentences that lean on another."""
    del settings

    def verdict(pair: TrainingPair) -> Verdict | None:
        """Sentences are held to more: a pronoun at their start points at the sentence before."""
        found = _CONTEXT_DEPENDENT.search(pair.anchor)
        if found is None and pair.source == "adjacent_sentence":
            found = _ANAPHORA.match(pair.anchor)
        return ("context_dependent", found.group()) if found else None

    return drop_where(pairs, verdict)


def copies(pairs: Sequence[TrainingPair], *, settings: FilterSettings, chunk_texts: Mapping[str, str]) -> FilterResult:
    """Drop questions that repeat a sentence of their own chunk (`copy_of_chunk`).

    Args:
        pairs: Pairs of any source; only questions can be copies.
        settings: Thresholds.
        chunk_texts: `chunk_id -> text` without the title: a question may well repeat the title.
    """

    @functools.lru_cache(maxsize=4096)
    def runs_of(chunk_id: str) -> np.ndarray:
        """Hashes of all runs of words in a chunk, made once for all its questions."""
        return shingle_hashes(words_of(chunk_texts[chunk_id]), _COPY_RUN)

    def verdict(pair: TrainingPair) -> Verdict | None:
        """Short questions share their few words with the chunk by chance."""
        words = words_of(pair.anchor)
        if pair.source != "question" or len(words) < settings.copy_minimum_words:
            return None
        share = containment(shingle_hashes(words, _COPY_RUN), runs_of(pair.chunk_id))
        return ("copy_of_chunk", f"{share:.2f} of its words in order") if share >= settings.copy_share else None

    return drop_where(pairs, verdict)
