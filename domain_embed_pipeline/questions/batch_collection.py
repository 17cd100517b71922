"""Collecting one batch: its state, its results as they stream in, and what became of each item.

What does not belong here: creating batches and asking again (`batches`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from domain_embed_pipeline.errors import QuestionError
from domain_embed_pipeline.questions.batch_ledger import BatchLedger, OpenBatch
from domain_embed_pipeline.questions.client import AttemptFailedError, BatchResult, BatchState
from domain_embed_pipeline.questions.records import FINAL_OUTCOMES
from domain_embed_pipeline.questions.session import AskingSession

logger = logging.getLogger(__name__)

_RESULTS_AT_ONCE = 100
"""Results stay on the server for 29 days, so losing the last hundred in a crash costs nothing."""
_STREAM_ATTEMPTS = 5
_WORTH_ASKING_AGAIN = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error", ""})


class ResultsForeignError(QuestionError):
    """The results carry none of our ids: the batch was adopted by mistake."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a look at a batch brought."""

    status: str
    is_done: bool
    failed: tuple[tuple[str, str, str, bool], ...] = ()
    """(chunk id, reason, detail, whether asking again may help) of items without an answer."""
    unusable: tuple[str, ...] = ()
    """Chunks whose answer holds no usable question."""


def collect(session: AskingSession, rows: BatchLedger, batch: OpenBatch) -> Collected:
    """Look at a batch and, once it has ended, store its results.

    Raises:
        AttemptFailedError: If the server does not answer; nothing is lost.
        ResultsForeignError: If the batch is somebody else's.
        LedgerError: If answers cannot be stored.
    """
    assert batch.batch_id is not None
    try:
        state = session.client.retrieve_batch(batch.batch_id)
    except AttemptFailedError as failure:
        if failure.kind != "not_found":
            raise
        return _lost(rows, batch, "the server does not know the batch (deleted, or another workspace's key)")
    if state.archived:
        return _lost(rows, batch, "its results were kept for 29 days and are gone")
    if state.status != "ended" or not state.results_available:
        return Collected(state.status, is_done=False)
    return _results(session, rows, batch, state)


def _lost(rows: BatchLedger, batch: OpenBatch, detail: str) -> Collected:
    """Report, and leave it to the next run to ask again: with the right key the results might still be had."""
    logger.warning(
        "Batch %s is lost: %s. Its %d open requests are reported.", batch.batch_id, detail, len(batch.waiting)
    )
    rows.close(batch.intent_id, "lost", detail)
    return Collected(
        "lost", is_done=True, failed=tuple((chunk, "batch_lost", detail, False) for chunk in batch.waiting.values())
    )


def _results(session: AskingSession, rows: BatchLedger, batch: OpenBatch, state: BatchState) -> Collected:
    """Read the results until each line was seen; a stream that breaks is read again from its start."""
    waiting = dict(batch.waiting)
    failed: list[tuple[str, str, str, bool]] = []
    unusable: list[str] = []
    problem = ""
    for attempt in range(_STREAM_ATTEMPTS):
        seen, foreign, problem = 0, 0, ""
        try:
            for part in _parts(session.client.batch_results(state.batch_id), _RESULTS_AT_ONCE):
                seen += len(part)
                foreign += sum(not line.custom_id.startswith(f"{batch.intent_id}-") for line in part)
                if foreign == seen:
                    raise ResultsForeignError(f"Batch {state.batch_id} holds no result of {batch.intent_id}.")
                _store(session, rows, batch, [line for line in part if line.custom_id in waiting], unusable)
                failed += _failures(part, waiting)
                for line in part:
                    waiting.pop(line.custom_id, None)
        except AttemptFailedError as failure:
            problem = failure.message
        if not problem and seen >= state.request_count:
            break
        problem = problem or f"{seen} of {state.request_count} lines"
        logger.warning("Results of %s are incomplete (%s); reading them again.", state.batch_id, problem)
        session.stopping.wait(session.backoff_s(attempt) / 5)
    else:
        raise AttemptFailedError("connection", f"the results of {state.batch_id} stay incomplete: {problem}")
    failed += [(chunk, "missing", "the batch has no result for it", True) for chunk in waiting.values()]
    rows.settle(batch.intent_id, [(custom_id, "missing", "") for custom_id in waiting])
    rows.close(batch.intent_id, "collected")
    return Collected("ended", is_done=True, failed=tuple(failed), unusable=tuple(unusable))


def _parts(results: Iterator[BatchResult], size: int) -> Iterator[list[BatchResult]]:
    """Results in lists of at most `size`; when the stream breaks, what came before is handed out first."""
    while True:
        part: list[BatchResult] = []
        try:
            part.extend(islice(results, 1))
            while part and len(part) < size and (more := list(islice(results, 1))):
                part.extend(more)
        except AttemptFailedError:
            if part:
                yield part
            raise
        if not part:
            return
        yield part


def _store(
    session: AskingSession, rows: BatchLedger, batch: OpenBatch, lines: Iterable[BatchResult], unusable: list[str]
) -> None:
    """Store the answers, then settle their items; a crash in between repeats the second step only."""
    answers, settled = [], []
    for line in lines:
        chunk_id = batch.waiting[line.custom_id]
        settled.append((line.custom_id, line.kind, f"{line.error_type} {line.detail}".strip()))
        if line.received is not None:
            delivery_key = f"{batch.batch_id}/{line.custom_id}"
            answer = session.paid_answer(chunk_id, line.received, delivery_key, batch.batch_id)
            answers.append(answer)
            if answer.parsed.outcome not in FINAL_OUTCOMES:
                unusable.append(chunk_id)
    if answers:
        session.store(answers)
        session.budget.settle(0.0, sum(answer.cost_usd for answer in answers))
    rows.settle(batch.intent_id, settled)


def _failures(lines: Iterable[BatchResult], waiting: dict[str, str]) -> list[tuple[str, str, str, bool]]:
    """Items that expired, failed or were cancelled; a request that is invalid stays so."""
    failed = []
    for line in lines:
        if line.received is None and line.custom_id in waiting:
            may_retry = line.kind == "expired" or (line.kind == "errored" and line.error_type in _WORTH_ASKING_AGAIN)
            detail = f"{line.error_type} {line.detail}".strip()
            failed.append((waiting[line.custom_id], line.kind, detail, may_retry))
    return failed
