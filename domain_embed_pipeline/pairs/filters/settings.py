"""Thresholds of the filters, each with what it costs to get it wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from domain_embed_pipeline.errors import PairsError

JudgeUse = Literal["off", "hard", "all"]

FILTER_NAMES = ("short", "boilerplate", "artifacts", "other_language", "context_dependent", "copies", "duplicates")
"""Filters that run by default and can be switched off by name."""


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """Which filters run, and where they draw the line."""

    drop_short: bool = True
    """Pairs with a side that is too short to mean anything."""
    minimum_characters: int = 30
    """Shortest passage, and shortest sentence as an anchor; shorter ones are fragments."""
    minimum_query_characters: int = 8
    """Shortest question. Keyword questions ("HIT 4Ts score") are short and genuine, so this stays low."""
    minimum_query_words: int = 2
    """Fewest words of a question; a single word names too many chunks."""
    minimum_title_characters: int = 2
    """Shortest title as an anchor; many titles are one term or abbreviation ("Heparin", "CPR")."""
    minimum_user_characters: int = 2
    """Shortest query of the user's own; people do search for "AF"."""
    drop_boilerplate: bool = True
    """Contents tables, link lists, legal notices, navigation and rows of figures teach that noise is relevant."""
    boilerplate_share: float = 0.6
    """Share of a passage's characters in boilerplate lines that makes it junk; lower hits text with a footer."""
    minimum_letter_share: float = 0.4
    """Share of letters in a passage without its spaces; below it, it is figures, code or broken encoding."""
    drop_artifacts: bool = True
    """Refusals, JSON, placeholders and markup that a language model wrote instead of a question."""
    drop_context_dependent: bool = True
    """Questions about "this passage" fit every chunk."""
    drop_copies: bool = True
    """Questions copied from their chunk teach word matching, which BM25 does for nothing."""
    copy_minimum_words: int = 8
    """Questions with fewer words may quote the chunk: a keyword question has to."""
    copy_share: float = 0.8
    """Share of the question's four-word runs that stand in the chunk from which it is a copy."""
    drop_other_language: bool = True
    """A question in another language than its chunk; only where both are certain."""
    language_minimum_characters: int = 40
    """Texts shorter than this are judged by their script alone: language of short text is guesswork."""
    language_certainty: float = 0.99
    """Probability that both texts need before a mismatch counts; terminology confuses the detector."""
    drop_duplicates: bool = True
    """A question asked twice weighs its passage twice; of two passages, each is a false negative of the other."""
    near_duplicate_share: float = 0.85
    """Overlap of character trigrams (Jaccard) from which two questions of one chunk are the same question; at 0.75
    "symptoms of atrial fibrillation" and "causes of atrial fibrillation" are taken for one."""
    round_trip_max_rank: int | None = None
    """Rank of the source chunk by the base model beyond which a question is dropped (or judged). Never small: a low
    bound drops what the base model fails on, which is what training is for. Off until a measurement says it pays."""
    judge: JudgeUse = "off"
    """What the LLM judge is asked about: nothing, questions beyond `round_trip_max_rank` ("hard"), or all questions.
    Each pair is paid for once; "hard" without a bound on the rank is refused."""

    def __post_init__(self) -> None:
        if self.judge == "hard" and self.round_trip_max_rank is None:
            raise PairsError(
                'judge is "hard" but round_trip_max_rank is not set, so no question is beyond it.',
                fix='Set round_trip_max_rank, e.g. to 200, or judge to "all".',
            )

    def without(self, names: Iterable[str]) -> FilterSettings:
        """The same settings with some filters switched off.

        Raises:
            PairsError: If a name is not in `FILTER_NAMES`.
        """
        names = tuple(names)
        unknown = [name for name in names if name not in FILTER_NAMES]
        if unknown:
            raise PairsError(
                f"No filter is named {', '.join(unknown)}.", fix=f"Choose among {', '.join(FILTER_NAMES)}."
            )
        return replace(self, **{f"drop_{name}": False for name in names})
