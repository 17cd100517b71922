"""Asking in Message Batches: half the price, minutes to hours of waiting, and never two batches for one set of chunks.

What belongs here: when batches are created, polled, collected and asked again. What does not: creating one
(`batch_creation`), reading its results (`batch_collection`), their rows in the ledger (`batch_ledger`).

A batch is recorded before it is created and its id right after, so a process that dies at any moment leaves enough
behind for the next one, which first takes over what it finds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from domain_embed_pipeline.errors import (
    BudgetExceededError,
    CircuitOpenError,
    QuestionError,
    RequestsRejectedError,
)
from domain_embed_pipeline.questions.batch_collection import Collected, ResultsForeignError, collect
from domain_embed_pipeline.questions.batch_creation import BatchCreator
from domain_embed_pipeline.questions.batch_ledger import BatchLedger, OpenBatch
from domain_embed_pipeline.questions.client import AttemptFailedError
from domain_embed_pipeline.questions.direct import ask_directly, raise_if_rejected
from domain_embed_pipeline.questions.progress import BatchProgress
from domain_embed_pipeline.questions.session import AskingSession
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)

_FIRST_POLL_S = 1.0
_SMALLEST_SHARE = 0.1
"""A further batch that money cuts to less than this share of what is to be asked is not worth its hours."""


class BatchesPendingError(QuestionError):
    """Batches are still running on the server; the next run collects them."""


class BatchRunner:
    """Batches of one run.

    Args:
        session: What the run shares.
        needed: Chunks that the run wants answers for. A batch with none of them is collected if it has ended, but not
            waited for.
    """

    def __init__(self, session: AskingSession, *, needed: frozenset[str]) -> None:
        self._session, self._needed = session, needed
        self._rows = BatchLedger(session.ledger, session.key)
        self._creator = BatchCreator(session, self._rows)
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
        while True:
            self._create_affordable(todo)
            self._collect_ended(todo)
            self._session.check()
            self._tell()
            if not todo and not any(map(self._is_needed, self._open.values())):
                return
            if self._open:
                self._check_patience(started)
                self._session.stopping.wait(pause)
                pause = min(pause * 1.5, self._session.settings.batch_poll_s)

    @property
    def has_open_batches(self) -> bool:
        """Whether anything is still to be collected."""
        return bool(self._open)

    def _is_needed(self, batch: OpenBatch) -> bool:
        return not self._needed.isdisjoint(batch.waiting.values())

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
            part = self._creator.next_part(todo)
            count = len(part.chunks)
            is_scrap = part.is_cut_by_money and bool(self._rounds) and count < len(todo) * _SMALLEST_SHARE
            if part.chunks and not is_scrap:
                for _ in part.chunks:
                    self._rounds[todo.popleft().chunk_id] += 1
                batch = self._creator.create(part)
                self._open[batch.intent_id] = batch
                continue
            self._session.budget.release(part.bound_usd)
            if self._open:
                # What runs now costs less than was set aside for it; see again when it is collected.
                return
            raise BudgetExceededError(
                f"The ceiling of ${self._session.budget.ceiling_usd:.6f} leaves room for {count} of the {len(todo)} "
                "chunks that are still to be asked.",
                fix="Raise max_cost_usd and run again; answers so far are kept and not paid for again.",
            )

    # ── taking over ──────────────────────────────────────────────────────────────────────────────────────────────

    def _resolved(self) -> list[Chunk]:
        """Find out about every intent without an id; chunks of those that the server never got are asked again."""
        again: list[Chunk] = []
        for batch in [batch for batch in self._open.values() if batch.batch_id is None]:
            batch_id = self._creator.find(batch, patient=self._is_needed(batch))
            if batch_id is not None:
                self._open[batch.intent_id] = self._creator.note_created(batch, batch_id)
                continue
            if not self._is_needed(batch):
                continue
            self._rows.close(batch.intent_id, "not_created", "the server does not list it")
            again += self._closed(batch, list(batch.waiting.values()))
        return again

    # ── collecting ───────────────────────────────────────────────────────────────────────────────────────────────

    def _collect_ended(self, todo: deque[Chunk]) -> None:
        """Collect every batch that has ended; chunks to ask again join `todo`."""
        for batch in [batch for batch in self._open.values() if batch.batch_id is not None]:
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
        self._open[batch.intent_id] = self._rows.open_batch(batch.intent_id)
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
        """Forget a closed batch and its reservation; chunks that nobody needs are not asked again."""
        del self._open[batch.intent_id]
        self._states.pop(batch.intent_id, None)
        self._session.budget.release(batch.cost_bound_usd)
        return [self._session.chunks[chunk_id] for chunk_id in again if chunk_id in self._needed]

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
