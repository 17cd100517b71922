"""From the ledger's content to the result of the question step.

What belongs here: `GeneratedQuestions` and how it is put together. What does not: asking (`generation`). Everything but
the counts of a run follows from the ledger, the chunks and the settings, in any order of arrival.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from domain_embed_pipeline.ids import version_of
from domain_embed_pipeline.questions.ledger import Ledger, RecordedQuestion, StoredAnswer
from domain_embed_pipeline.questions.parsing import PARSER_VERSION, comparable
from domain_embed_pipeline.questions.prompt import answer_key_of
from domain_embed_pipeline.questions.records import FINAL_OUTCOMES, Usage, question_id_of
from domain_embed_pipeline.questions.session import parse_safely
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk, Question

_MIN_TEXTS_TO_SUSPECT = 8
_MIN_RATE_TO_SUSPECT = 0.3


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """A chunk without a question, and why."""

    chunk_id: str
    document_id: str
    reason: str
    """`refused`, `no_questions`, `truncated`, `invalid`, `unparsed`; or why no answer came: `timeout`, `expired` ..."""
    detail: str
    is_final: bool
    """False when the next run asks again."""


@dataclass(frozen=True, slots=True)
class RejectedQuestion:
    """A text that the model returned and that is not a valid question."""

    chunk_id: str
    style: str
    text: str
    """At most 200 characters, invisible ones escaped."""
    reason: str


@dataclass(frozen=True, slots=True)
class SuspiciousDocument:
    """A document whose chunks make the model return far more invalid text than others do."""

    document_id: str
    texts: int
    rejected: int
    reject_rate: float
    median_reject_rate: float
    """Over all documents of the run."""


@dataclass(frozen=True, slots=True)
class GeneratedQuestions:
    """All questions of a corpus under one setting, and what they cost.

    Questions, refusals, rejected texts and versions depend on the ledger alone; the counts say what this run did.
    """

    questions: tuple[Question, ...]
    """Sorted by chunk, generator, style and text."""
    refusals: tuple[RefusedAnswer, ...]
    rejected: tuple[RejectedQuestion, ...]
    suspicious_documents: tuple[SuspiciousDocument, ...]
    questions_version: str
    prompt_version: str
    model: str
    chunks: int
    recorded: int
    """Chunks that have imported questions."""
    answered_from_ledger: int
    """Chunks that needed no request: recorded ones, and those whose answer was paid for in an earlier run."""
    asked: int
    """Chunks for which an answer arrived in this run."""
    refused: int
    """Chunks whose final answer holds no question."""
    unanswered: int
    """Chunks without a final answer; the next run asks about them."""
    duplicates: int
    """Questions left out because their chunk has one of the same words."""
    answers_paid: int
    """Answers that arrived in this run."""
    input_tokens: int
    """Tokens of this run, cached ones left out."""
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_hits: int
    """Answers of this run whose prompt came at least in part from the server's cache."""
    cost_usd: float
    """Cost of this run."""
    uncertain_cost_usd: float
    """Most that requests which got no answer may have cost on top."""
    ledger_cost_usd: float
    """Cost of all answers behind these questions, whenever they were paid for."""
    cost_per_1000_questions: float
    """`ledger_cost_usd` per 1,000 questions of the model; imported questions are left out."""
    keep_rate: float
    """Valid questions per text that the model returned; 1 when it returned none."""
    duration_s: float
    stopped_reason: str | None
    """None when every chunk was asked about; else `budget: ...`, `circuit_open: ...`, `batches_pending: ...`."""

    @property
    def waits_for_batches(self) -> bool:
        """Whether answers are on their way that the next run will collect."""
        return (self.stopped_reason or "").startswith("batches_pending")


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What a run did beside filling the ledger."""

    asked: frozenset[str] = frozenset()
    usages: tuple[Usage, ...] = ()
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """`chunk_id -> (reason, detail)` of chunks that got no answer."""
    cost_usd: float = 0.0
    uncertain_cost_usd: float = 0.0
    stopped_reason: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerContent:
    """What the ledger has for the chunks of a run."""

    answers: dict[str, list[StoredAnswer]]
    """`chunk_id -> answers`, in order of arrival."""
    recorded: dict[str, list[RecordedQuestion]]

    def needs_asking(self, chunk_id: str, settings: QuestionSettings) -> bool:
        """Whether the chunk has no final answer, may have one more, and no recorded question stands in."""
        if chunk_id in self.recorded and not settings.ask_beside_recorded:
            return False
        found = self.answers.get(chunk_id, [])
        return final_answer(found) is None and len(found) < settings.max_answers_per_chunk


def final_answer(answers: Sequence[StoredAnswer]) -> StoredAnswer | None:
    """The first answer that settles a chunk: with questions, or with a reason for having none."""
    return next((answer for answer in answers if answer.parsed.outcome in FINAL_OUTCOMES), None)


def read_ledger(chunks: Sequence[Chunk], settings: QuestionSettings, ledger: Ledger) -> LedgerContent:
    """Answers and recorded questions of the chunks; answers of an older parser are read again, at no cost."""
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    answers = ledger.answers(answer_key_of(settings), by_id)
    stale = [a for found in answers.values() for a in found if a.parser_version != PARSER_VERSION]
    if stale:
        parsed = [(a.response_id, parse_safely(a.received, by_id[a.chunk_id], settings)) for a in stale]
        ledger.replace_parsed(parsed)
        answers = ledger.answers(answer_key_of(settings), by_id)
    return LedgerContent(answers, ledger.recorded(by_id))


def assemble(
    chunks: Sequence[Chunk],
    settings: QuestionSettings,
    *,
    content: LedgerContent,
    run: RunCounts,
    duration_s: float,
) -> GeneratedQuestions:
    """The result of a run.

    Args:
        chunks: Each chunk once.
        settings: Settings of the run.
        content: What the ledger has after the run.
        run: What the run did.
        duration_s: Seconds it took.
    """
    answers = [answer for chunk in chunks for answer in content.answers.get(chunk.chunk_id, [])]
    questions, duplicates = _questions(chunks, settings, content)
    refusals = _refusals(chunks, settings, content=content, failures=run.failures)
    rejected = [
        RejectedQuestion(answer.chunk_id, text.style, text.text, text.reason)
        for answer in answers
        for text in answer.parsed.rejected
    ]
    unanswered = frozenset(chunk.chunk_id for chunk in chunks if content.needs_asking(chunk.chunk_id, settings))
    valid = sum(len(answer.parsed.questions) for answer in answers)
    generated = sum(question.generator == settings.model for question in questions)
    ledger_cost = sum(answer.cost_usd for answer in answers)
    return GeneratedQuestions(
        questions=questions,
        refusals=refusals,
        rejected=tuple(sorted(rejected, key=lambda row: (row.chunk_id, row.style, row.text, row.reason))),
        suspicious_documents=suspicious_documents(chunks, answers),
        questions_version=version_of("questions", {question.question_id for question in questions}),
        prompt_version=answer_key_of(settings).prompt_version,
        model=settings.model,
        chunks=len(chunks),
        recorded=len(content.recorded),
        answered_from_ledger=len({chunk.chunk_id for chunk in chunks} - run.asked - unanswered),
        asked=len(run.asked),
        refused=sum(row.is_final for row in refusals),
        unanswered=len(unanswered),
        duplicates=duplicates,
        answers_paid=len(run.usages),
        **_token_counts(run.usages),
        cost_usd=run.cost_usd,
        uncertain_cost_usd=run.uncertain_cost_usd,
        ledger_cost_usd=ledger_cost,
        cost_per_1000_questions=1000 * ledger_cost / generated if generated else 0.0,
        keep_rate=valid / (valid + len(rejected)) if valid + len(rejected) else 1.0,
        duration_s=duration_s,
        stopped_reason=run.stopped_reason,
    )


def _token_counts(usages: Iterable[Usage]) -> dict[str, int]:
    usages = list(usages)
    return {
        "input_tokens": sum(usage.input_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
        "cache_read_tokens": sum(usage.cache_read_tokens for usage in usages),
        "cache_write_tokens": sum(usage.cache_write_5m_tokens + usage.cache_write_1h_tokens for usage in usages),
        "cache_hits": sum(usage.cache_read_tokens > 0 for usage in usages),
    }


def _questions(
    chunks: Sequence[Chunk], settings: QuestionSettings, content: LedgerContent
) -> tuple[tuple[Question, ...], int]:
    """Sorted questions, and how many were left out as duplicates; recorded ones come before the model's."""
    questions: list[Question] = []
    duplicates = 0
    for chunk in chunks:
        found = [(row.style, row.text, row.generator) for row in content.recorded.get(chunk.chunk_id, [])]
        found.sort(key=lambda row: (row[2], row[0], row[1]))
        answer = final_answer(content.answers.get(chunk.chunk_id, []))
        if answer is not None:
            found += [(row.style, row.text, settings.model) for row in answer.parsed.questions]
        seen: set[str] = set()
        for style, text, generator in found:
            if comparable(text) in seen:
                duplicates += 1
                continue
            seen.add(comparable(text))
            question_id = question_id_of(chunk.chunk_id, style, text)
            questions.append(Question(question_id, chunk.chunk_id, style, text, generator))
    questions.sort(key=lambda row: (row.chunk_id, row.generator, row.style, row.text))
    return tuple(questions), duplicates


def _refusals(
    chunks: Sequence[Chunk],
    settings: QuestionSettings,
    *,
    content: LedgerContent,
    failures: Mapping[str, tuple[str, str]],
) -> tuple[RefusedAnswer, ...]:
    rows = []
    for chunk in chunks:
        answers = content.answers.get(chunk.chunk_id, [])
        final = final_answer(answers)
        is_final = not content.needs_asking(chunk.chunk_id, settings)
        if (final is not None and final.parsed.questions) or (chunk.chunk_id in content.recorded and is_final):
            continue
        if not is_final and chunk.chunk_id in failures:
            reason, detail = failures[chunk.chunk_id]
        elif answers:
            parsed = (final or answers[-1]).parsed
            reason, detail = parsed.outcome, parsed.detail
        else:
            continue
        rows.append(RefusedAnswer(chunk.chunk_id, chunk.document_id, reason, detail, is_final))
    return tuple(sorted(rows, key=lambda row: row.chunk_id))


def suspicious_documents(chunks: Sequence[Chunk], answers: Sequence[StoredAnswer]) -> tuple[SuspiciousDocument, ...]:
    """Documents with at least 8 returned texts, of which over 30 % and over three times the median were invalid."""
    document_of = {chunk.chunk_id: chunk.document_id for chunk in chunks}
    valid: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for answer in answers:
        document_id = document_of[answer.chunk_id]
        valid[document_id] += len(answer.parsed.questions)
        rejected[document_id] += len(answer.parsed.rejected)
    rates = {
        document_id: rejected[document_id] / (valid[document_id] + rejected[document_id])
        for document_id in {*valid, *rejected}
        if valid[document_id] + rejected[document_id]
    }
    median = statistics.median(rates.values()) if rates else 0.0
    rows = [
        SuspiciousDocument(document_id, valid[document_id] + rejected[document_id], rejected[document_id], rate, median)
        for document_id, rate in rates.items()
        if valid[document_id] + rejected[document_id] >= _MIN_TEXTS_TO_SUSPECT
        and rate > max(_MIN_RATE_TO_SUSPECT, 3 * median)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.reject_rate, row.document_id)))
