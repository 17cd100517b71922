"""Questions for every chunk of a corpus: from the ledger where they are, from the model where they are not.

What belongs here: the one function that the pipeline calls, and its result. What does not: how requests are sent
(`direct`, `batches`), filters that turn questions into pairs (`pairs`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from domain_embed_pipeline.errors import (
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
    LeaseLostError,
    QuestionError,
)
from domain_embed_pipeline.ids import version_of
from domain_embed_pipeline.questions.batches import BatchesPendingError, BatchRunner
from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.direct import ask_directly
from domain_embed_pipeline.questions.lease import AskingLease
from domain_embed_pipeline.questions.ledger import Ledger, RecordedQuestion, StoredAnswer
from domain_embed_pipeline.questions.parsing import PARSER_VERSION, comparable
from domain_embed_pipeline.questions.progress import Progress
from domain_embed_pipeline.questions.prompt import answer_key_of
from domain_embed_pipeline.questions.records import FINAL_OUTCOMES, question_id_of
from domain_embed_pipeline.questions.session import AskingSession, parse_safely
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.questions.sources import SuspiciousDocument, suspicious_documents
from domain_embed_pipeline.records import Chunk, Question

logger = logging.getLogger(__name__)

_STOPS: dict[type[QuestionError], str] = {
    BudgetExceededError: "budget",
    CircuitOpenError: "circuit_open",
    LeaseLostError: "lease_lost",
    BatchesPendingError: "batches_pending",
}


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """A chunk without a question, and why."""

    chunk_id: str
    document_id: str
    reason: str
    """`refused`, `no_questions`, `truncated`, `invalid`, `unparsed`; or why no answer came: `timeout`, `expired`, ..."""
    detail: str
    is_final: bool
    """False when the next run asks again."""


@dataclass(frozen=True, slots=True)
class RejectedQuestion:
    """A text that the model returned and that is not a valid question."""

    chunk_id: str
    style: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class GeneratedQuestions:
    """All questions of a corpus under one setting, and what they cost.

    The first five fields depend on the ledger's content alone; the counts say what this run did.
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
    """Chunks whose imported questions stand in for an answer."""
    answered_from_ledger: int
    """Chunks that needed no request in this run: recorded ones, and those whose answer was paid for before."""
    asked: int
    """Chunks whose answer arrived in this run."""
    refused: int
    """Chunks whose final answer holds no question."""
    unanswered: int
    """Chunks without a final answer; the next run asks about them."""
    duplicates: int
    """Questions dropped because their chunk has the same words already."""
    input_tokens: int
    """Tokens of this run, cached ones left out."""
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_hits: int
    """Answers of this run whose prompt came from the server's cache at least in part."""
    answers_paid: int
    """Answers of this run."""
    cost_usd: float
    """Cost of this run."""
    uncertain_cost_usd: float
    """Most that requests without an answer may have cost on top."""
    ledger_cost_usd: float
    """Cost of all answers behind these questions, whenever they were paid for."""
    cost_per_1000_questions: float
    """`ledger_cost_usd` per 1,000 questions of the model; imported ones left out."""
    keep_rate: float
    """Valid questions per text that the model returned; 1 when it returned none."""
    duration_s: float
    stopped_reason: str | None
    """None when every chunk was asked about; else `budget: …`, `circuit_open: …`, `batches_pending: …`."""


def generate_questions(
    chunks: Sequence[Chunk],
    *,
    settings: QuestionSettings,
    ledger: Ledger,
    client: MessagesClient | None,
    progress: Callable[[Progress], None] | None = None,
) -> GeneratedQuestions:
    """Ask about every chunk that the ledger has no answer for, and return all questions.

    Args:
        chunks: Chunks of the corpus; a chunk that is given twice counts once.
        settings: What to ask, how fast and for how much.
        ledger: Where answers are and go.
        client: Whom to ask; None takes what the ledger has.
        progress: Called about once a second while requests run.

    Raises:
        ConfigurationError: If the model has no price, or batches are demanded of a server without them.
        RequestsRejectedError: If the server refuses the key or the model.
        LedgerError: If an answer cannot be stored.
    """
    import time

    started = time.monotonic()
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    ordered = [by_id[chunk_id] for chunk_id in sorted(by_id)]
    pending = unanswered_chunks(ordered, settings, ledger)
    run = _Run()
    if pending and client is None:
        logger.info(
            "%d of %d chunks have no questions in the ledger and there is nobody to ask (no key, no base URL); "
            "going on with the others.",
            len(pending),
            len(ordered),
        )
    elif pending and client is not None:
        session = AskingSession(ordered, settings, ledger=ledger, client=client, progress=progress)
        run = _ask(session, ordered)
    else:
        logger.info("All %d chunks are answered in the ledger; no request is made.", len(ordered))
    return _result(ordered, settings, ledger=ledger, run=run, duration_s=time.monotonic() - started)
