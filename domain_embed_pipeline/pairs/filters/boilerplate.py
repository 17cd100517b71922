"""Passages that are no text about anything: contents tables, link lists, legal notices, navigation, rows of figures."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

from domain_embed_pipeline.pairs.filters.base import Verdict, drop_where
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.pairs.shingles import words_of
from domain_embed_pipeline.records import TrainingPair


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)


_CONTENTS_HEADING = _any_of(r"^\W*(table of contents|contents|list of (figures|tables)|index)\W*$")
_CONTENTS_LINE = _any_of(
    r"(\.\s?){4,}\s*\d+\s*$",  # Introduction ..... 3
    r"\S(\s{3,}|\t)\d{1,4}\s*$",  # Introduction      3
    r"^\s*\d+(\.\d+)*\.?\s+\S.{0,70}\s\d{1,4}\s*$",  # 2.1 Methods 17
)
_DOT_LEADER = re.compile(r"(?:\.\s?){5,}\s*\d+")
_LINK = _any_of(r"https?://\S+", r"www\.\S+", r"\S+@\S+\.\w+", r"\[[^\]]*\]\([^)]*\)")
_NAVIGATION = re.compile(r"^(\s*[^|>»•·\n\d]{1,25}\s*[|>»•·]){3,}\s*[^|>»•·\n\d]{1,25}$")
_NOTICE = _any_of(
    r"©|\(c\)\s*\d{4}|copyright\s+\d{4}|all rights reserved|\bisbn\b",
    r"no part of this (publication|document|book)|without (the )?(prior )?(written )?permission",
    r"terms (of (use|service)|and conditions)|privacy (policy|notice)|confidential(ity)? (notice|and proprietary)",
    r"cookie (policy|settings|notice)|(uses?|accept) cookies|enable javascript",
    r"intentionally left blank|^\W*page \d+( of \d+)?\W*$|printed on \d|uncontrolled (copy )?when printed",
    r"last (updated|modified|reviewed)|lorem ipsum",
    r"subscribe to (our|the) newsletter|follow us on|^.{0,25}\b(sign (in|up)|log ?in)\b.{0,25}$",
    r"click here|skip to (main )?content|back to top|read more$|share (this|on) (facebook|twitter|page|article)",
)
# Each notice holds one of these; looking for them first takes a twentieth of the time.
_HINTS = (
    *("©", "(c)", "copyright", "rights", "isbn", "permission", "no part", "terms", "privacy", "confidential", "cookie"),
    *("javascript", "blank", "page ", "printed", "last ", "lorem", "newsletter", "sign ", "log in", "follow", "click"),
    *("skip", "back to", "read more", "share "),
)


def boilerplate(pairs: Sequence[TrainingPair], *, settings: FilterSettings) -> FilterResult:
    """Drop pairs by their passage: `table_of_contents`, `link_list`, `boilerplate`, `figures` or `repetition`."""

    @functools.lru_cache(maxsize=65536)
    def of_passage(text: str) -> Verdict | None:
        """Many pairs share a passage; each is judged once."""
        return _judge(text, settings)

    return drop_where(pairs, lambda pair: of_passage(pair.positive))


def _judge(text: str, settings: FilterSettings) -> Verdict | None:
    detail = text[:100]
    if _is_contents(text):
        return "table_of_contents", detail
    if _link_length(text) >= settings.boilerplate_share * len(text.strip()):
        return "link_list", detail
    if _notice_share(text) >= settings.boilerplate_share:
        return "boilerplate", detail
    visible = len("".join(text.split()))
    letters = sum(map(str.isalpha, text))
    if letters < settings.minimum_letter_share * visible or text.count("\ufffd") > 0.02 * visible:
        return "figures", detail
    return ("repetition", detail) if _is_repetition(text) else None


def _is_contents(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    entries = sum(line.rstrip()[-1].isdigit() and bool(_CONTENTS_LINE.search(line)) for line in lines)
    has_heading = any(_CONTENTS_HEADING.match(line) for line in lines[:3])
    if has_heading and entries >= 2 and entries >= 0.4 * len(lines):
        return True
    dotted = sum(len(match.group()) > 0 for match in _DOT_LEADER.finditer(text))
    return (
        dotted >= 3 or (dotted >= 1 and entries >= 0.6 * len(lines)) or (entries >= 5 and entries >= 0.8 * len(lines))
    )


def _link_length(text: str) -> int:
    """Characters of links and addresses."""
    if not any(mark in text for mark in ("://", "www.", "@", "](")):
        return 0
    return sum(len(match.group()) for match in _LINK.finditer(text))


def _notice_share(text: str) -> float:
    """Share of characters in lines (or sentences of a long line) that hold a notice or a navigation bar."""
    lowered = text.casefold()
    if sum(map(lowered.count, "|>»•·")) < 3 and not any(hint in lowered for hint in _HINTS):
        return 0.0
    pieces = [piece for line in text.splitlines() for piece in re.split(r"(?<=[.!?])\s+", line) if piece.strip()]
    total = sum(map(len, pieces))
    bars = [piece for piece in pieces if _NAVIGATION.match(piece)]
    # Several bars are the rows of a table.
    noise = sum(len(piece) for piece in pieces if _NOTICE.search(piece) or bars == [piece])
    return noise / total if total else 1.0


def _is_repetition(text: str) -> bool:
    words = words_of(text)
    if len(words) < 12:
        return any(len(word) > 100 for word in words)
    return Counter(words).most_common(1)[0][1] > 0.5 * len(words) or len(set(words)) < 0.12 * min(len(words), 100)
