"""Where overlap with an evaluation query becomes a leak: the thresholds of all detectors, and what each costs.

What belongs here: what `leakage`, `query_overlap` and `paraphrases` go by. What does not: how they find anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeakageSettings:
    """Where overlap becomes a leak."""

    changed_words_per_ten: float = 1.0
    """Words in ten of a query that a reworded copy may have changed (never less than one word), and that the copy may
    have of its own; the order does not count. Counts about passages that answer the query: about another passage a
    changed word makes another question. More takes questions of one pattern for one question."""
    pattern_texts: int = 5
    """Different texts, the two included, that may hold all the shared words; more make them a pattern of asking ("What
    are the symptoms of ...?"). Lower misses a query that leaked in many variants."""
    distinctiveness: float = 1.25
    """How rare the shared words must be together, as a multiple of ln(texts); lower takes "What causes A?" and "What
    causes B?" for one question, higher misses short queries with one changed word."""
    quoted_share: float = 0.8
    """Share of a query's word pairs (in order) that make it a quotation within an anchor of any length."""
    quoted_minimum_words: int = 5
    """Queries with fewer words are no quotation: three terms in a row stand in many sentences."""
    embedding_similarity: float = 0.95
    """Cosine from which an anchor is a paraphrase whatever passage it is about; at 0.9 "stages of acute leukaemia" and
    "stages of chronic leukaemia" are one question. Raised by itself for models whose cosines are all high (e5)."""
    same_answer_similarity: float = 0.9
    """Cosine from which an anchor about a passage that answers the query is a paraphrase; lowered by what follows."""
    same_answer_quantile: float = 0.98
    """About a passage that answers the query, nearer to the query than this share of the questions of one passage are
    to each other is a paraphrase too. Lower takes different questions about one passage for one; 1 switches it off."""
    samples_per_detector: int = 20
    """Examples kept for a person to look at."""
