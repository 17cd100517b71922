"""From the raw text of an answer to valid questions, or to the reason why there are none.

Nothing a model returns is trusted: its text may have been steered by the chunk. What does not belong here: filters that
judge whether a valid question is a good one (`pairs`). Whoever changes what is accepted moves `PARSER_VERSION`: stored
answers are then read again, which costs nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from domain_embed_pipeline.questions.prompt import PLAIN_STYLE, SKIP_KEY, answer_keys_of
from domain_embed_pipeline.questions.records import ParsedAnswer, ParsedQuestion, ReceivedAnswer, RejectedText
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk

PARSER_VERSION = 1
MAX_QUESTION_LENGTH = 200
_MAX_WORD_LENGTH = 60
_MAX_ANSWER_LENGTH = 100_000

_JOINERS = "\u200c\u200d"
"""Invisible, but Persian, Hindi and emoji need them."""
_LINE_BREAK = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+"
    r"|(?:javascript|data|mailto):\S+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?:[a-z0-9-]+\.)+(?:com|org|net|io|ru|cn|info|biz|dev|ai|xyz|top|gov|edu|app|link|site|online)\b(?:/\S*)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"</?[a-z!][^<>]*>|<[a-z]+\s+\w+=|```|\{\{|\}\}|[{,]\s*\"[^\"]*\"\s*:|\"\s*[}\]]|\]\(", re.IGNORECASE
)


def parse_answer(answer: ReceivedAnswer, chunk: Chunk, settings: QuestionSettings) -> ParsedAnswer:
    """Valid questions of an answer, what was rejected, and what became of the answer as a whole.

    A refusal keeps nothing. A truncated answer keeps the questions that are complete.
    """
    if answer.stop_reason == "refusal":
        return ParsedAnswer("refused", detail=answer.refusal_category or "no category given")
    truncated = answer.stop_reason in ("max_tokens", "model_context_window_exceeded")
    text = answer.text[:_MAX_ANSWER_LENGTH]
    if not text.strip():
        return ParsedAnswer("truncated" if truncated else "invalid", detail="empty answer")
    entries, skip_reason = _entries_of(text, settings)
    if entries is None:
        return ParsedAnswer("truncated" if truncated else "invalid", detail="no JSON of the expected shape")
    questions, rejected = _validated(entries, chunk, settings)
    if questions:
        return ParsedAnswer("answered", questions, rejected, detail=_missing(questions, settings))
    if skip_reason and not rejected:
        return ParsedAnswer("no_questions", detail=_escaped(skip_reason))
    return ParsedAnswer("truncated" if truncated else "invalid", (), rejected, detail="no valid question")


def _missing(questions: tuple[ParsedQuestion, ...], settings: QuestionSettings) -> str:
    lacking = settings.question_count - len(questions)
    return f"{lacking} of {settings.question_count} questions missing" if lacking > 0 else ""


def _entries_of(text: str, settings: QuestionSettings) -> tuple[list[tuple[str, Any]] | None, str]:
    """(style or unknown key, value) in order, and the skip reason; None when the text holds nothing usable."""
    keys = {PLAIN_STYLE: PLAIN_STYLE} if settings.prompt == "plain" else answer_keys_of(settings)
    for value in _json_values(text):
        found = _plain_entries(value) if settings.prompt == "plain" else _styled_entries(value, keys)
        if found is not None:
            return found
    return _salvaged(text, keys, settings)


def _plain_entries(value: Any) -> tuple[list[tuple[str, Any]], str] | None:
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        return None
    return [(PLAIN_STYLE, item) for item in value], "" if value else "empty list"


def _styled_entries(value: Any, keys: dict[str, str]) -> tuple[list[tuple[str, Any]], str] | None:
    """Entries of an object with our keys, with styles as keys, or wrapped in one more object."""
    if not isinstance(value, dict):
        return None
    known = {*keys, *keys.values(), SKIP_KEY}
    if not known & value.keys():
        inner = [item for item in value.values() if isinstance(item, dict) and known & item.keys()]
        return _styled_entries(inner[0], keys) if len(inner) == 1 else None
    entries: list[tuple[str, Any]] = []
    for key, item in value.items():
        if key == SKIP_KEY:
            continue
        style = keys.get(key) or (key if key in keys.values() else f"unknown:{key}")
        entries.extend((style, part) for part in (item if isinstance(item, list) else [item]))
    skip = value.get(SKIP_KEY)
    return [(style, item) for style, item in entries if item != "" and item is not None], skip if isinstance(
        skip, str
    ) else ""


def _json_values(text: str) -> Iterator[Any]:
    """Every JSON object or array that starts somewhere in the text outside another one, first one first."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(20):
        match = re.search(r"[{\[]", text[position:])
        if match is None:
            return
        position += match.start()
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        yield value
        position = end


def _salvaged(text: str, keys: dict[str, str], settings: QuestionSettings) -> tuple[list[tuple[str, Any]] | None, str]:
    """Complete `"key": "value"` pairs (or strings of a cut array) of text that is not JSON as a whole."""
    string = r'"((?:[^"\\\n]|\\.)*)"'
    if settings.prompt == "plain":
        start = text.find("[")
        found = [(PLAIN_STYLE, value) for value in re.findall(string, text[start:])] if start >= 0 else []
    else:
        pattern = rf'"({"|".join(map(re.escape, keys))})"\s*:\s*{string}'
        found = [(keys[key], value) for key, value in re.findall(pattern, text)]
    entries = [(style, _unescaped(value)) for style, value in found]
    entries = [(style, value) for style, value in entries if value]
    return (entries or None), ""


def _unescaped(value: str) -> str:
    try:
        return json.loads(f'"{value}"')
    except ValueError:
        return ""


def _validated(
    entries: Iterable[tuple[str, Any]], chunk: Chunk, settings: QuestionSettings
) -> tuple[tuple[ParsedQuestion, ...], tuple[RejectedText, ...]]:
    limit = settings.plain_questions if settings.prompt == "plain" else settings.questions_per_style
    questions: list[ParsedQuestion] = []
    rejected: list[RejectedText] = []
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for style, value in entries:
        text = cleaned(value) if isinstance(value, str) else ""
        reason = _reason_against(style, value, text, chunk)
        if reason is None and comparable(text) in seen:
            reason = "duplicate"
        if reason is None and counts.get(style, 0) >= limit:
            reason = "too_many"
        if reason is not None:
            rejected.append(RejectedText(_escaped(style)[:60], _escaped(str(value)), reason))
            continue
        seen.add(comparable(text))
        counts[style] = counts.get(style, 0) + 1
        questions.append(ParsedQuestion(style, text))
    return tuple(questions), tuple(rejected[:50])


def _reason_against(style: str, value: Any, text: str, chunk: Chunk) -> str | None:
    if style.startswith("unknown:"):
        return "unknown_style"
    if not isinstance(value, str):
        return "not_text"
    return reason_against_question(text, f"{chunk.title}\n{chunk.text}")


def cleaned(text: str) -> str:
    """NFC, spaces (never line breaks) at the ends removed and inner runs of spaces and tabs made one."""
    return re.sub(r"[ \t\xa0]+", " ", unicodedata.normalize("NFC", text)).strip(" ")


def comparable(text: str) -> str:
    """Form in which two questions of a chunk count as the same."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def reason_against_question(text: str, context: str | None) -> str | None:
    """Why a text is not a valid question: `empty`, `too_long`, `several_lines`, `hidden_characters`, ...; or None.

    Args:
        text: The text after `cleaned`.
        context: Title and text of the chunk: addresses and markup that occur in it are allowed. None skips this check.
    """
    if _LINE_BREAK.search(text):
        return "several_lines"
    if any(_is_hidden(character) for character in text):
        return "hidden_characters"
    words = re.findall(r"\w+", text)
    if len("".join(words)) < 2:
        return "empty"
    if len(text) > MAX_QUESTION_LENGTH:
        return "too_long"
    if max(map(len, text.split())) > _MAX_WORD_LENGTH and not _is_in(text.split(), context):
        return "overlong_word"
    if len(words) >= 8 and len({word.casefold() for word in words}) <= len(words) // 4:
        return "repetitive"
    return None if context is None else _foreign(text, context)


def _foreign(text: str, context: str) -> str | None:
    """Addresses and markup that the chunk does not hold."""
    folded = context.casefold()
    for reason, pattern in (("foreign_address", _ADDRESS), ("foreign_markup", _MARKUP)):
        for match in pattern.finditer(text):
            if match.group().rstrip(".,;:!?)'\"").casefold() not in folded:
                return reason
    return None


def _is_hidden(character: str) -> bool:
    """Control, format (bidi marks, tags), surrogate, private and unassigned characters."""
    if character in _JOINERS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")


def _is_in(words: list[str], context: str | None) -> bool:
    return context is not None and all(word in context for word in words if len(word) > _MAX_WORD_LENGTH)


def _escaped(text: str) -> str:
    """At most 200 characters with everything invisible spelled out, safe to store and to show."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
    return "".join(shown)[:200]
