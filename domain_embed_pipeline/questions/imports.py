"""Questions that somebody already has, into the ledger.

What belongs here: reading a file of recorded questions and finding their chunks. What does not: asking a model.
Recorded questions cost nothing and stand in for the model's answer.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from domain_embed_pipeline.errors import QuestionImportError
from domain_embed_pipeline.ids import normalise_text
from domain_embed_pipeline.questions.ledger import Ledger, RecordedQuestion
from domain_embed_pipeline.questions.parsing import cleaned, reason_against_question
from domain_embed_pipeline.records import Chunk, Corpus

logger = logging.getLogger(__name__)

METADATA_KEYS = frozenset({"chunk_id", "_id", "text", "title", "source", "section", "metadata"})
"""Keys of a line that are not styles."""
_MAX_STYLE_LENGTH = 64
_MAX_DEPTH = 3
_QUESTIONS_AT_ONCE = 5000
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A line, or one question of a line, that was not imported."""

    line_number: int
    """From 1."""
    reason: str
    """Of a line: `not_json`, `not_utf8`, `not_an_object`, `no_chunk_named`, `unmatched`, `no_question`; of a question:
    `bad_style`, `not_text`, or a reason of `parsing.reason_against_question`."""
    detail: str


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What came of a file of recorded questions."""

    path: str
    generator: str
    lines: int
    """Lines that are not blank."""
    matched_lines: int
    chunks: int
    """Chunks that the matched lines belong to; one text may be the text of several."""
    questions: int
    """Valid questions, over all chunks."""
    added: int
    """Questions that were not in the ledger before."""
    unmatched: tuple[ImportProblem, ...]
    bad: tuple[ImportProblem, ...]
    rejected_questions: tuple[ImportProblem, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    questions: tuple[tuple[str, str, str], ...]
    """(chunk id, style, text)."""
    rejected: tuple[ImportProblem, ...]


def import_questions(path: str, *, corpus: Corpus, ledger: Ledger, generator: str = "recorded") -> ImportSummary:
    """Put the questions of a JSON-lines file into the ledger.

    A line names its chunk by `chunk_id` (an id of the user's own system, or ours) or by the chunk's `text`, compared
    after `normalise_text`. A `chunk_id` that is a document's id names the document: each question goes to the chunk
    of it that shares most words with it. Every other key is a style whose value is a question, a list of questions, or
    an object of styles. Importing a file again changes nothing; a line with more styles adds them.

    Args:
        path: File, or any fsspec URL.
        corpus: The corpus that the questions are about.
        ledger: Where they go.
        generator: Who wrote them; a name under which they are shown.

    Raises:
        QuestionImportError: If the file cannot be read, is empty, or no line of it is a JSON object.
        LedgerError: If the ledger cannot be written.
    """
    names = _ChunkNames(corpus)
    lines: list[_Line] = []
    unmatched: list[ImportProblem] = []
    bad: list[ImportProblem] = []
    for number, raw in _raw_lines(path):
        read = _read_line(number, raw, names)
        if isinstance(read, _Line):
            lines.append(read)
        else:
            (unmatched if read.reason == "unmatched" else bad).append(read)
    if not lines and not unmatched:
        raise QuestionImportError(
            f"{path} holds no line that can be imported; line {bad[0].line_number}: {bad[0].detail}."
            if bad
            else f"{path} is empty.",
            fix='Give one JSON object a line, such as {"chunk_id": "a1", "natural": ["How ...?"]}.',
        )
    questions = [
        RecordedQuestion(chunk_id, style, text, generator) for line in lines for chunk_id, style, text in line.questions
    ]
    parts = range(0, len(questions), _QUESTIONS_AT_ONCE)
    added = sum(ledger.add_recorded(questions[start : start + _QUESTIONS_AT_ONCE]) for start in parts)
    summary = ImportSummary(
        path=str(path),
        generator=generator,
        lines=len(lines) + len(unmatched) + len(bad),
        matched_lines=len(lines),
        chunks=len({question.chunk_id for question in questions}),
        questions=len(questions),
        added=added,
        unmatched=tuple(unmatched),
        bad=tuple(bad),
        rejected_questions=tuple(problem for line in lines for problem in line.rejected),
    )
    _log_summary(summary)
    return summary


def _log_summary(summary: ImportSummary) -> None:
    logger.info(
        "%s: %d of %d lines matched %d chunks, %d questions, %d of them new.",
        summary.path,
        summary.matched_lines,
        summary.lines,
        summary.chunks,
        summary.questions,
        summary.added,
    )
    problems = [*summary.unmatched, *summary.bad, *summary.rejected_questions]
    for problem in sorted(problems, key=lambda problem: problem.line_number)[:10]:
        logger.warning("%s, line %d: %s (%s)", summary.path, problem.line_number, problem.reason, problem.detail)


class _ChunkNames:
    """Chunks of one corpus by our ids and the user's own, by normalised text, and by document."""

    def __init__(self, corpus: Corpus) -> None:
        self._by_name: dict[str, list[Chunk]] = {}
        self._by_text: dict[str, list[Chunk]] = {}
        self._by_document: dict[str, list[Chunk]] = {}
        for chunk in sorted(corpus.chunks, key=lambda chunk: (chunk.position, chunk.chunk_id)):
            for name in {chunk.chunk_id, *chunk.external_ids}:
                self._by_name.setdefault(name, []).append(chunk)
            for document_id in chunk.document_ids:
                self._by_document.setdefault(document_id, []).append(chunk)
            self._by_text.setdefault(normalise_text(chunk.text), []).append(chunk)

    def named(self, names: Sequence[str], text: object) -> Sequence[Chunk]:
        """Chunks that one of the names is the id of, else those of that text; empty when there are none."""
        found = next((self._by_name[name] for name in names if name in self._by_name), None)
        if found is None and isinstance(text, str):
            found = self._by_text.get(normalise_text(text))
        return found or ()

    def of_document(self, names: Sequence[str]) -> Sequence[Chunk]:
        """Chunks of the document that one of the names is the id of, in its order; empty when there is none."""
        return next((self._by_document[name] for name in names if name in self._by_document), ())


def _nearest(question: str, chunks: Sequence[Chunk]) -> Chunk:
    """The chunk that shares most words with the question; of equals the first."""
    words = set(_WORD.findall(question.lower()))
    return max(chunks, key=lambda chunk: len(words.intersection(_WORD.findall(chunk.embedding_text.lower()))))


def _raw_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, numbered from 1."""
    try:
        with fsspec.open(str(path), "rb") as file:
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if line.strip():
                    yield number, line
    except (OSError, ValueError) as error:
        raise QuestionImportError(
            f"{path} cannot be read: {type(error).__name__}: {error}.", fix="Give the path of a JSON-lines file."
        ) from error


def _read_line(number: int, raw: bytes, chunk_names: _ChunkNames) -> _Line | ImportProblem:
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return ImportProblem(number, "not_utf8", f"byte {error.start} is not UTF-8")
    except (ValueError, RecursionError) as error:
        return ImportProblem(number, "not_json", str(error)[:200])
    if not isinstance(value, dict):
        return ImportProblem(number, "not_an_object", f"a JSON {type(value).__name__}")
    names = [str(value[key]) for key in ("chunk_id", "_id") if value.get(key) not in (None, "")]
    text = value.get("text")
    if not names and not (isinstance(text, str) and text.strip()):
        return ImportProblem(number, "no_chunk_named", "neither chunk_id nor text")
    chunks = chunk_names.named(names, text)
    document = () if chunks else chunk_names.of_document(names)
    if not chunks and not document:
        shown = f"chunk_id {names[0]!r}" if names else f"text {str(text)[:60]!r}"
        return ImportProblem(number, "unmatched", f"no chunk of the corpus has the {shown}, no document that name")
    styles = {key: item for key, item in value.items() if key not in METADATA_KEYS}
    questions, rejected = _questions_of(number, styles)
    if not questions and not rejected:
        return ImportProblem(number, "no_question", "no key holds a question")
    placed = [
        (chunk.chunk_id, style, question)
        for style, question in questions
        for chunk in (chunks or (_nearest(question, document),))
    ]
    return _Line(number, tuple(sorted(placed)), rejected)


def _questions_of(number: int, styles: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], tuple[ImportProblem, ...]]:
    """Valid (style, text) of a line, and what is wrong with the others."""
    questions: list[tuple[str, str]] = []
    rejected: list[ImportProblem] = []
    for style, value in _flattened(styles):
        text = cleaned(value) if isinstance(value, str) else ""
        reason = None if isinstance(value, str) else "not_text"
        if not style or len(style) > _MAX_STYLE_LENGTH or not style.isprintable():
            reason = "bad_style"
        reason = reason or reason_against_question(text, None)
        if reason is None:
            questions.append((style, text))
        else:
            rejected.append(ImportProblem(number, reason, f"{style[:_MAX_STYLE_LENGTH]!r}: {str(value)[:80]!r}"))
    return tuple(dict.fromkeys(questions)), tuple(rejected)


def _flattened(styles: dict[str, Any], depth: int = 1) -> Iterator[tuple[str, Any]]:
    """(style, question) of strings, lists of strings and objects of styles."""
    for style, value in styles.items():
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _flattened(value, depth + 1)
        else:
            for item in value if isinstance(value, list) else [value]:
                yield style, item
