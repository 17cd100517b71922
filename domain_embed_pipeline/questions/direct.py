"""Asking directly: concurrent requests, each answer stored the moment it arrives.

What belongs here: threads and the retries of one request. What does not: batches.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from domain_embed_pipeline.errors import BudgetExceededError, RequestsRejectedError
from domain_embed_pipeline.questions.client import AttemptFailedError, Delivery
from domain_embed_pipeline.questions.records import FINAL_OUTCOMES
from domain_embed_pipeline.questions.session import AskingSession
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)

_PASSING_FAILURES = frozenset({"rate_limited", "overloaded", "server", "timeout", "connection", "bad_answer"})


def ask_directly(session: AskingSession, chunks: Sequence[Chunk]) -> None:
    """Ask about every chunk; those whose requests met a passing failure get a second pass at the end.

    Raises:
        BudgetExceededError: If the ceiling was reached, ours or the account's.
        CircuitOpenError: If too much failed in a row.
        RequestsRejectedError: If the server refuses the key or the model.
        LedgerError: If answers cannot be stored.
    """
    _ask_all(session, chunks)
    again = [chunk for chunk in chunks if session.failures.get(chunk.chunk_id, ("",))[0] in _PASSING_FAILURES]
    if again:
        logger.info("Asking again about %d chunks whose requests failed.", len(again))
        for chunk in again:
            del session.failures[chunk.chunk_id]
        _ask_all(session, again)


def _ask_all(session: AskingSession, chunks: Sequence[Chunk]) -> None:
    pending = deque(chunks)
    running: set[Future[None]] = set()
    # The first request goes alone: it fills the prompt cache that the others then read, and a wrong key shows at once.
    width = 1
    with ThreadPoolExecutor(session.settings.max_concurrency, thread_name_prefix="questions") as pool:
        try:
            while pending or running:
                _submit(session, pool, pending, running, width)
                done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    width = session.settings.max_concurrency
                session.check()
                session.reporter.tell(session.budget.spent_usd)
        except BaseException:
            # Sleepers wake up and give up; requests in flight are paid for, so their answers are waited for.
            session.stopping.set()
            wait(running)
            raise


def _submit(
    session: AskingSession, pool: ThreadPoolExecutor, pending: deque[Chunk], running: set[Future[None]], width: int
) -> None:
    """Fill up to `width` requests; short of money, wait for those in flight to settle before giving up."""
    while pending and len(running) < width:
        bound = session.bound_usd(pending[0], batch=False)
        try:
            session.budget.reserve(bound)
        except BudgetExceededError:
            if running:
                return
            raise
        running.add(pool.submit(_ask_about, session, pending.popleft(), bound))


def _ask_about(session: AskingSession, chunk: Chunk, bound: float) -> None:
    """Ask about one chunk until its answer is usable or its share of paid answers is used up."""
    for number in range(max(1, session.answers_left(chunk.chunk_id))):
        if number:
            session.budget.reserve(bound)
        delivery = _deliver(session, chunk, bound)
        if delivery is None:
            return
        delivery_key = f"direct/{uuid.uuid4().hex}"
        answer = session.paid_answer(chunk.chunk_id, delivery.received, delivery_key)
        session.store([answer])
        session.limiter.observe(delivery.headers)
        if answer.parsed.outcome in FINAL_OUTCOMES:
            return


def _deliver(session: AskingSession, chunk: Chunk, bound: float) -> Delivery | None:
    """One answer, within the bounds of retrying; uses up the reservation in every case."""
    request = session.request_for(chunk)
    held = True
    try:
        for attempt in range(session.settings.max_retries + 1):
            if not held:
                session.budget.reserve(bound)
                held = True
            session.breaker.check()
            if not session.limiter.acquire() or session.stopping.is_set():
                return None
            try:
                delivery = session.client.ask(request, timeout_s=session.settings.request_timeout_s)
            except AttemptFailedError as failure:
                if failure.may_be_billed:
                    session.budget.settle_unknown(bound)
                    held = False
                if not _may_go_on(session, chunk, failure, attempt):
                    return None
                continue
            session.breaker.answered()
            session.budget.settle(bound, session.cost_of(delivery.received))
            held = False
            return delivery
        return None
    finally:
        if held:
            session.budget.release(bound)


def _may_go_on(session: AskingSession, chunk: Chunk, failure: AttemptFailedError, attempt: int) -> bool:
    """Wait before the next attempt and return True, or note the failure and return False.

    Raises:
        BudgetExceededError: If the account's spend limit is reached.
        RequestsRejectedError: If the key or the model is refused.
    """
    raise_if_rejected(failure)
    if failure.kind != "rate_limited":
        session.breaker.failed(failure.message)
    if not failure.may_retry or attempt >= session.settings.max_retries:
        if failure.kind == "rate_limited":
            session.breaker.failed(failure.message)
        session.note_attempt_failure(chunk.chunk_id, failure)
        return False
    logger.debug("Attempt %d about %s failed: %s", attempt + 1, chunk.chunk_id, failure.message)
    pause = failure.retry_after_s if failure.retry_after_s is not None else session.backoff_s(attempt)
    if failure.kind == "rate_limited":
        session.limiter.pause(pause)
        return True
    return not session.stopping.wait(min(pause, session.settings.retry_after_ceiling_s))


def raise_if_rejected(failure: AttemptFailedError) -> None:
    """Turn a failure that concerns every request into the error that ends the run.

    Raises:
        BudgetExceededError: If the account's spend limit is reached.
        RequestsRejectedError: If the key or the model is refused.
    """
    if failure.kind == "spend_limit":
        raise BudgetExceededError(
            f"The account cannot spend more: {failure.message}.", fix="Raise the limit in the Console, then run again."
        ) from failure
    if failure.kind in ("rejected", "not_found"):
        raise RequestsRejectedError(
            f"The server refuses the key, the address or the model: {failure.message}.",
            fix="Check ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and the model name; answers so far are kept.",
        ) from failure
