"""Asking in Message Batches: half the price, minutes to hours of waiting, and never two batches for one set of chunks.

What belongs here: when batches are created, polled, collected and asked again. What does not: their rows in the ledger
(`batch_ledger`), a creation that got no answer (`adoption`).

A batch is recorded before it is created and its id right after, so a process that dies at any moment leaves enough
behind for the next one, which first takes over what it finds.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from domain_embed_pipeline.errors import (
    BudgetExceededError,
    CircuitOpenError,
    QuestionError,
    RequestsRejectedError,
)
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.questions.adoption import creation_is_ambiguous, find_created_batch, newest_batch_id
from domain_embed_pipeline.questions.batch_collection import Collected, ResultsForeignError, collect
from domain_embed_pipeline.questions.batch_ledger import BatchLedger, OpenBatch
from domain_embed_pipeline.questions.client import AttemptFailedError
from domain_embed_pipeline.questions.direct import ask_directly, raise_if_rejected
from domain_embed_pipeline.questions.progress import BatchProgress
from domain_embed_pipeline.questions.prompt import build_request
from domain_embed_pipeline.questions.session import AskingSession
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)
T = TypeVar("T")

_FIRST_POLL_S = 1.0
_SMALLEST_SHARE = 0.1


class BatchesPendingError(QuestionError):
    """Batches are still running on the server; the next run collects them."""


class BatchRunner:
    """Batches of one run."""

    def __init__(self, session: AskingSession) -> None:
        self._session = session
        self._rows = BatchLedger(session.ledger, session.key)
        self._open: dict[str, OpenBatch] = {}
        self._rounds: Counter[str] = Counter()
        self._states: dict[str, str] = {}
        self._failures = 0

    def resume(self) -> frozenset[str]:
        """Take over the open batches of earlier runs and return the chunks that wait in them."""
        for batch in self._rows.open_batches():
            self._open[batch.intent_id] = batch
            self._session.budget.commit(batch.cost_bound_usd)
            logger.info("Taking over batch %s with %d requests.", batch.batch_id or "(id unknown)", batch.request_count)
        return frozenset(chunk_id for batch in self._open.values() for chunk_id in batch.waiting.values())

    def run(self, chunks: Sequence[Chunk]) -> None:
        """Ask about the chunks in batches and collect every open batch.

        Raises:
            BudgetExceededError: If the ceiling leaves no room for what is still to be asked.
            BatchesPendingError: If batches still run after `batch_wait_h`.
            CircuitOpenError: If the server does not answer for long, or answers are unusable.
            RequestsRejectedError: If the server refuses the key or every request.
            LedgerError: If answers cannot be stored.
        """
        todo = deque(self._resolved())
        todo.extend(chunks)
        if len(todo) > 1:
            self._smoke_test(todo)
        started = time.monotonic()
        pause = min(_FIRST_POLL_S, self._session.settings.batch_poll_s)
        while todo or self._open:
            self._create_affordable(todo)
            self._collect_ended(todo)
            self._session.check()
            self._tell()
            if self._open:
                self._check_patience(started)
                self._session.stopping.wait(pause)
                pause = min(pause * 1.5, self._session.settings.batch_poll_s)

    # ── creating ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _smoke_test(self, todo: deque[Chunk]) -> None:
        """Ask about one chunk directly: a batch checks its requests only when it runs, hours later perhaps."""
        refused = ""
        for _ in range(2):
            chunk = todo.popleft()
            ask_directly(self._session, [chunk])
            reason, refused = self._session.failures.get(chunk.chunk_id, ("", ""))
            if reason in ("bad_request", "too_large"):
                continue
            if reason:
                del self._session.failures[chunk.chunk_id]
                todo.append(chunk)
            return
        raise RequestsRejectedError(
            f"The server refuses requests of this shape: {refused}.",
            fix="Check the model name; for another server, try structured_output=False.",
        )

    def _create_affordable(self, todo: deque[Chunk]) -> None:
        """Create batches until everything is asked or the ceiling is near.

        Raises:
            BudgetExceededError: If what fits is nothing, or so little that waiting for it is not worth the hours.
        """
        while todo:
            part, requests, bound = self._next_part(todo)
            room_is_small = len(part) < len(todo) * _SMALLEST_SHARE and bool(self._rounds)
            if part and not (room_is_small and self._is_short_of_money(todo[len(part)])):
                for _ in part:
                    todo.popleft()
                self._create(part, requests, bound)
                continue
            self._session.budget.release(bound)
            if self._open:
                # What runs now costs less than was set aside for it; see again when it is collected.
                return
            raise BudgetExceededError(
                f"The ceiling of ${self._session.budget.ceiling_usd:.6f} leaves room for {len(part)} of the "
                f"{len(todo)} chunks that are still to be asked.",
                fix="Raise max_cost_usd and run again; answers so far are kept and not paid for again.",
            )

    def _is_short_of_money(self, chunk: Chunk) -> bool:
        bound = self._session.bound_usd(chunk, batch=True)
        try:
            self._session.budget.reserve(bound)
        except BudgetExceededError:
            return True
        self._session.budget.release(bound)
        return False

    def _next_part(self, todo: Iterable[Chunk]) -> tuple[list[Chunk], list[dict[str, Any]], float]:
        """As many chunks as one batch holds by count, bytes and money; the money is reserved."""
        settings = self._session.settings
        part: list[Chunk] = []
        requests: list[dict[str, Any]] = []
        size, reserved = 0, 0.0
        for chunk in todo:
            if len(part) >= settings.batch_max_requests:
                break
            request = build_request(chunk, settings, batch=True)
            bytes_more = len(json.dumps(request).encode()) + 120
            if part and size + bytes_more > settings.batch_max_bytes:
                break
            bound = self._session.bound_usd(chunk, batch=True)
            try:
                self._session.budget.reserve(bound)
            except BudgetExceededError:
                break
            part.append(chunk)
            requests.append(request)
            size, reserved = size + bytes_more, reserved + bound
        return part, requests, reserved

    def _create(self, part: Sequence[Chunk], requests: Sequence[dict[str, Any]], bound: float) -> None:
        """Create one batch: the intent first, the id right after.

        Raises:
            RequestsRejectedError: If the server refuses the batch.
            CircuitOpenError: If the server does not say whether it has the batch; the next run finds out.
        """
        session = self._session
        for attempt in range(session.settings.max_retries + 1):
            intent_id = uuid.uuid4().hex[:12]
            custom_ids = [f"{intent_id}-{digest_of(chunk.chunk_id)[:24]}" for chunk in part]
            items = [(custom_id, chunk.chunk_id) for custom_id, chunk in zip(custom_ids, part, strict=True)]
            batch = self._intend(intent_id, items, bound)
            bodies = [{"custom_id": i, "params": body} for i, body in zip(custom_ids, requests, strict=True)]
            if self._send(batch, bodies, attempt):
                for chunk in part:
                    self._rounds[chunk.chunk_id] += 1
                return
        session.budget.release(bound)
        raise CircuitOpenError(
            f"A batch of {len(part)} requests could not be created in {session.settings.max_retries + 1} attempts.",
            fix="Check the server and its status page, then run again.",
        )

    def _intend(self, intent_id: str, items: Sequence[tuple[str, str]], bound: float) -> OpenBatch:
        newest = self._patiently("list batches", lambda: newest_batch_id(self._session.client))
        return self._rows.intend(intent_id, items, newest_before=newest, cost_bound_usd=bound)

    def _send(self, batch: OpenBatch, bodies: Sequence[dict[str, Any]], attempt: int) -> bool:
        """Send the creation; whether the server has the batch now."""
        try:
            batch_id: str | None = self._session.client.create_batch(bodies).batch_id
        except AttemptFailedError as failure:
            if not creation_is_ambiguous(failure):
                self._rows.close(batch.intent_id, "not_created", failure.message)
                self._refused(failure, attempt)
                return False
            logger.warning("Creating a batch got no answer (%s); looking for it on the server.", failure.message)
            batch_id = self._find(batch)
        if batch_id is None:
            self._rows.close(batch.intent_id, "not_created", "the server does not list it")
            return False
        self._note_created(batch, batch_id)
        return True

    def _refused(self, failure: AttemptFailedError, attempt: int) -> None:
        raise_if_rejected(failure)
        if not failure.may_retry:
            raise RequestsRejectedError(
                f"The server refuses the batch: {failure.message}.",
                fix="Lower batch_max_requests or batch_max_bytes, or set mode to direct.",
            ) from failure
        pause = failure.retry_after_s if failure.retry_after_s is not None else self._session.backoff_s(attempt)
        self._session.stopping.wait(min(pause, self._session.settings.retry_after_ceiling_s))

    def _note_created(self, batch: OpenBatch, batch_id: str) -> None:
        self._rows.created(batch.intent_id, batch_id)
        (self._open[batch.intent_id],) = [row for row in self._rows.open_batches() if row.intent_id == batch.intent_id]
        logger.info("Batch %s holds %d requests.", batch_id, batch.request_count)

    # ── taking over ──────────────────────────────────────────────────────────────────────────────────────────────

    def _resolved(self) -> list[Chunk]:
        """Find out about every intent without an id; chunks of those that the server never got are asked again."""
        again: list[Chunk] = []
        for batch in [batch for batch in self._open.values() if batch.batch_id is None]:
            batch_id = self._find(batch)
            if batch_id is not None:
                self._note_created(batch, batch_id)
                continue
            self._rows.close(batch.intent_id, "not_created", "the server does not list it")
            again += self._closed(batch, list(batch.waiting.values()))
        return again

    def _find(self, batch: OpenBatch) -> str | None:
        """Look for a batch in the server's list, until it has had time to show up there."""
        session = self._session

        def look() -> str | None:
            return find_created_batch(session.client, batch, known=self._rows.known_batch_ids())

        until = time.monotonic() + session.settings.batch_adopt_grace_s
        while True:
            found = self._patiently("list batches", look)
            if found is not None or time.monotonic() >= until:
                return found
            session.stopping.wait(min(2.0, max(0.05, session.settings.batch_adopt_grace_s / 10)))

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        """A free request, tried again after passing failures."""
        session = self._session
        said = ""
        for attempt in range(session.settings.max_retries + 1):
            try:
                return call()
            except AttemptFailedError as failure:
                raise_if_rejected(failure)
                said = failure.message
                pause = failure.retry_after_s if failure.retry_after_s is not None else session.backoff_s(attempt)
                session.stopping.wait(min(pause, session.settings.retry_after_ceiling_s))
        raise CircuitOpenError(
            f"The server does not {what}: {said}.", fix="Check the server, then run again: no batch is lost."
        )

    # ── collecting ───────────────────────────────────────────────────────────────────────────────────────────────

    def _collect_ended(self, todo: deque[Chunk]) -> None:
        """Collect every batch that has ended; chunks to ask again join `todo`."""
        for batch in list(self._open.values()):
            try:
                collected = collect(self._session, self._rows, batch)
            except ResultsForeignError:
                todo.extend(self._give_back(batch))
            except AttemptFailedError as failure:
                self._failures += 1
                self._give_up_if_hopeless(failure)
            else:
                self._failures = 0
                self._states[batch.intent_id] = collected.status
                if collected.is_done:
                    todo.extend(self._closed(batch, self._to_ask_again(collected)))

    def _give_back(self, batch: OpenBatch) -> list[Chunk]:
        """A batch that was adopted turns out to be somebody else's: look for our own once more."""
        assert batch.batch_id is not None
        logger.warning("Batch %s was adopted by mistake; its results belong to somebody else.", batch.batch_id)
        self._rows.disown(batch.intent_id, batch.batch_id)
        (self._open[batch.intent_id],) = [row for row in self._rows.open_batches() if row.intent_id == batch.intent_id]
        return self._resolved()

    def _to_ask_again(self, collected: Collected) -> list[str]:
        """Chunks of failed items that may be put in another batch; the others are noted as failures."""
        again = []
        for chunk_id, reason, detail, may_retry in collected.failed:
            if may_retry and self._rounds[chunk_id] < self._session.settings.batch_rounds:
                again.append(chunk_id)
            else:
                self._session.note_failure(chunk_id, reason, detail)
        return again + [chunk_id for chunk_id in collected.unusable if self._session.answers_left(chunk_id) > 0]

    def _closed(self, batch: OpenBatch, again: Iterable[str]) -> list[Chunk]:
        """Forget a closed batch and its reservation; chunks that left the corpus are not asked again."""
        del self._open[batch.intent_id]
        self._states.pop(batch.intent_id, None)
        self._session.budget.release(batch.cost_bound_usd)
        return [self._session.chunks[chunk_id] for chunk_id in again if chunk_id in self._session.chunks]

    def _give_up_if_hopeless(self, failure: AttemptFailedError) -> None:
        raise_if_rejected(failure)
        logger.warning("A look at a batch failed (%d in a row): %s", self._failures, failure.message)
        if self._failures >= self._session.settings.circuit_breaker_failures:
            raise CircuitOpenError(
                f"{self._failures} looks at batches in a row failed, the last one with: {failure.message}.",
                fix="Check the server, then run again: the batches go on and are collected then.",
            ) from failure

    def _check_patience(self, started: float) -> None:
        if time.monotonic() - started > self._session.settings.batch_wait_h * 3600:
            ids = ", ".join(batch.batch_id or "(id unknown)" for batch in self._open.values())
            raise BatchesPendingError(
                f"Still running after {self._session.settings.batch_wait_h:g} h: {ids}.",
                fix="Run again later; nothing is paid twice.",
            )

    def _tell(self) -> None:
        now = time.time()
        batches = tuple(
            BatchProgress(
                batch.batch_id or "(id unknown)",
                self._states.get(batch.intent_id, "created"),
                now - (batch.created_at or batch.intended_at),
                batch.request_count,
            )
            for batch in self._open.values()
        )
        self._session.reporter.tell(self._session.budget.spent_usd, batches)
