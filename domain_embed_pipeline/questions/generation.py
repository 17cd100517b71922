"""Questions for every chunk of a corpus: from the ledger where they are, from the model where they are not.

What belongs here: the one function that the pipeline calls. What does not: how requests are sent (`direct`, `batches`),
the result's make-up (`assembly`), filters that turn questions into pairs (`pairs`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from domain_embed_pipeline.errors import (
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
    LeaseLostError,
    QuestionError,
)
from domain_embed_pipeline.questions.assembly import (
    GeneratedQuestions,
    RefusedAnswer,
    RejectedQuestion,
    RunCounts,
    SuspiciousDocument,
    assemble,
    read_ledger,
)
from domain_embed_pipeline.questions.batch_ledger import BatchLedger
from domain_embed_pipeline.questions.batches import BatchesPendingError, BatchRunner
from domain_embed_pipeline.questions.client import AttemptFailedError, MessagesClient
from domain_embed_pipeline.questions.direct import ask_directly, raise_if_rejected
from domain_embed_pipeline.questions.lease import AskingLease
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.progress import Progress
from domain_embed_pipeline.questions.prompt import answer_key_of
from domain_embed_pipeline.questions.session import AskingSession
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk

__all__ = [
    "GeneratedQuestions",
    "QuestionSettings",
    "RefusedAnswer",
    "RejectedQuestion",
    "SuspiciousDocument",
    "generate_questions",
]

logger = logging.getLogger(__name__)

_STOPS: dict[type[QuestionError], str] = {
    BudgetExceededError: "budget",
    CircuitOpenError: "circuit_open",
    LeaseLostError: "lease_lost",
    BatchesPendingError: "batches_pending",
    AttemptFailedError: "server_failed",
}


def generate_questions(
    chunks: Sequence[Chunk],
    *,
    settings: QuestionSettings,
    ledger: Ledger,
    client: MessagesClient | None,
    progress: Callable[[Progress], None] | None = None,
) -> GeneratedQuestions:
    """Ask about every chunk that the ledger has no answer for, and return all questions.

    A ceiling, a server that keeps failing or a batch that takes too long end the asking, not the function: the result
    has everything so far and says why in `stopped_reason`.

    Args:
        chunks: Chunks of the corpus; one that is given twice counts once.
        settings: What to ask, how fast and for how much.
        ledger: Where answers are and go.
        client: Whom to ask; None takes what the ledger has.
        progress: Called about once a second while requests run.

    Raises:
        ConfigurationError: If the model has no price, or batches are demanded of a server without them.
        RequestsRejectedError: If the server refuses the key or the model.
        LedgerError: If an answer cannot be stored.
    """
    started = time.monotonic()
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    ordered = [by_id[chunk_id] for chunk_id in sorted(by_id)]
    content = read_ledger(ordered, settings, ledger)
    pending = sum(content.needs_asking(chunk_id, settings) for chunk_id in by_id)
    run = RunCounts()
    # A batch may hold answers for chunks that left the corpus; uncollected, they would be gone after 29 days.
    waiting = BatchLedger(ledger, answer_key_of(settings)).open_batches() if client is not None else []
    if not pending and not waiting:
        logger.info("All %d chunks are answered in the ledger; nothing is asked.", len(ordered))
    elif client is None:
        logger.info(
            "%d of %d chunks have no questions in the ledger and there is nobody to ask (neither key nor base URL); "
            "going on with the others.",
            pending,
            len(ordered),
        )
    else:
        session = AskingSession(ordered, settings, ledger=ledger, client=client, progress=progress)
        run = _ask_under_lease(session, ordered)
        content = read_ledger(ordered, settings, ledger)
    result = assemble(ordered, settings, content=content, run=run, duration_s=time.monotonic() - started)
    _log_result(result)
    return result


def _ask_under_lease(session: AskingSession, ordered: Sequence[Chunk]) -> RunCounts:
    stopped_reason = None
    with AskingLease(session.ledger, session.key) as lease:
        session.lease_lost = lambda: lease.lost
        # Read again: another process may have asked while this one waited for the lease.
        content = read_ledger(ordered, session.settings, session.ledger)
        pending = [chunk for chunk in ordered if content.needs_asking(chunk.chunk_id, session.settings)]
        session.start({chunk_id: len(found) for chunk_id, found in content.answers.items()}, len(pending))
        try:
            _ask(session, pending)
        except tuple(_STOPS) as stop:
            stopped_reason = f"{_STOPS[type(stop)]}: {stop}"
            logger.warning("The question step stopped early: %s", stopped_reason)
        session.reporter.tell(session.budget.spent_usd, force=True)
    return RunCounts(
        asked=frozenset(session.asked),
        usages=tuple(session.usages),
        failures=session.failures,
        cost_usd=session.budget.spent_usd,
        uncertain_cost_usd=session.budget.uncertain_usd,
        stopped_reason=stopped_reason,
    )


def _ask(session: AskingSession, pending: Sequence[Chunk]) -> None:
    """Collect what earlier runs left in batches, and ask about the rest in the way that suits its number."""
    runner = BatchRunner(session, needed=frozenset(chunk.chunk_id for chunk in pending))
    waiting = runner.resume()
    rest = [chunk for chunk in pending if chunk.chunk_id not in waiting]
    in_batches = bool(rest) and _asks_in_batches(session, len(rest))
    if rest and not in_batches:
        ask_directly(session, rest)
        rest = []
    if rest or runner.has_open_batches:
        runner.run(rest)


def _asks_in_batches(session: AskingSession, count: int) -> bool:
    """Whether `count` chunks go into batches.

    Raises:
        ConfigurationError: If batches are demanded and the server has none.
    """
    mode = session.settings.mode
    if mode == "direct" or (mode == "auto" and count <= session.settings.batch_threshold):
        return False
    try:
        offered = session.client.offers_batches()
    except AttemptFailedError as failure:
        raise_if_rejected(failure)
        raise
    if mode == "batch" and not offered:
        raise ConfigurationError(
            f"The server {session.client.redact(session.client.base_url)} has no Message Batches API.",
            fix="Set mode to direct or auto.",
        )
    return offered


def _log_result(result: GeneratedQuestions) -> None:
    logger.info(
        "%d questions for %d chunks (%s): %d chunks from the ledger, %d asked, %d refused, %d unanswered, $%.4f.",
        len(result.questions),
        result.chunks,
        result.questions_version,
        result.answered_from_ledger,
        result.asked,
        result.refused,
        result.unanswered,
        result.cost_usd,
    )
    for document in result.suspicious_documents[:20]:
        logger.warning(
            "%s: %d of %d returned texts were invalid (median of all documents: %.0f %%); look at this document.",
            document.document_id,
            document.rejected,
            document.texts,
            100 * document.median_reject_rate,
        )
