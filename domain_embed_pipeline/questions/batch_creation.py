"""Creating one batch so that it exists once: intent first, id right after, and a search when no answer came.

What does not belong here: which chunks go into batches and when (`batches`).
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from domain_embed_pipeline.errors import BudgetExceededError, CircuitOpenError, RequestsRejectedError
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.questions.adoption import creation_is_ambiguous, find_created_batch, newest_batch_id
from domain_embed_pipeline.questions.batch_ledger import BatchLedger, OpenBatch
from domain_embed_pipeline.questions.client import AttemptFailedError
from domain_embed_pipeline.questions.direct import raise_if_rejected
from domain_embed_pipeline.questions.prompt import build_request
from domain_embed_pipeline.questions.session import AskingSession
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)
T = TypeVar("T")

_BYTES_AROUND_A_REQUEST = 120


@dataclass(slots=True)
class BatchPart:
    """Chunks that go into one batch; the money for them is reserved."""

    chunks: list[Chunk] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0
    bound_usd: float = 0.0
    is_cut_by_money: bool = False
    """Whether the ceiling, not the size of a batch, ended it."""


class BatchCreator:
    """Creates batches for a run and finds those whose creation got no answer."""

    def __init__(self, session: AskingSession, rows: BatchLedger) -> None:
        self._session, self._rows = session, rows

    def next_part(self, chunks: Iterable[Chunk]) -> BatchPart:
        """As many chunks as one batch holds by count, bytes and money."""
        settings = self._session.settings
        part = BatchPart()
        for chunk in chunks:
            if len(part.chunks) >= settings.batch_max_requests:
                break
            request = build_request(chunk, settings, batch=True)
            size = len(json.dumps(request).encode()) + _BYTES_AROUND_A_REQUEST
            if part.chunks and part.bytes + size > settings.batch_max_bytes:
                break
            bound = self._session.bound_usd(chunk, batch=True)
            try:
                self._session.budget.reserve(bound)
            except BudgetExceededError:
                part.is_cut_by_money = True
                break
            part.chunks.append(chunk)
            part.requests.append(request)
            part.bytes, part.bound_usd = part.bytes + size, part.bound_usd + bound
        return part

    def create(self, part: BatchPart) -> OpenBatch:
        """Create one batch: the intent first, the id right after.

        Raises:
            RequestsRejectedError: If the server refuses the batch.
            CircuitOpenError: If the server does not say whether it has the batch; the next run finds out.
        """
        session = self._session
        for attempt in range(session.settings.max_retries + 1):
            intent_id = uuid.uuid4().hex[:12]
            custom_ids = [f"{intent_id}-{digest_of(chunk.chunk_id)[:24]}" for chunk in part.chunks]
            items = [(custom_id, chunk.chunk_id) for custom_id, chunk in zip(custom_ids, part.chunks, strict=True)]
            batch = self._intend(intent_id, items, part.bound_usd)
            bodies = [{"custom_id": i, "params": body} for i, body in zip(custom_ids, part.requests, strict=True)]
            batch_id = self._send(batch, bodies, attempt)
            if batch_id is not None:
                return self.note_created(batch, batch_id)
        session.budget.release(part.bound_usd)
        raise CircuitOpenError(
            f"A batch of {len(part.chunks)} requests could not be created, the last attempt being number "
            f"{session.settings.max_retries + 1}.",
            fix="Check the server and its status page, then run again.",
        )

    def note_created(self, batch: OpenBatch, batch_id: str) -> OpenBatch:
        """Record the id of a batch and return the batch with it."""
        self._rows.created(batch.intent_id, batch_id)
        logger.info("Batch %s holds %d requests.", batch_id, batch.request_count)
        return self._rows.open_batch(batch.intent_id)

    def _intend(self, intent_id: str, items: Sequence[tuple[str, str]], bound: float) -> OpenBatch:
        newest = self.patiently("list batches", lambda: newest_batch_id(self._session.client))
        return self._rows.intend(intent_id, items, newest_before=newest, cost_bound_usd=bound)

    def _send(self, batch: OpenBatch, bodies: Sequence[dict[str, Any]], attempt: int) -> str | None:
        """Send the creation; the id of the batch if the server has it now."""
        try:
            batch_id: str | None = self._session.client.create_batch(bodies).batch_id
        except AttemptFailedError as failure:
            if not creation_is_ambiguous(failure):
                self._rows.close(batch.intent_id, "not_created", failure.message)
                self._refused(failure, attempt)
                return None
            logger.warning("Creating a batch got no answer (%s); looking for it on the server.", failure.message)
            batch_id = self.find(batch)
        if batch_id is None:
            self._rows.close(batch.intent_id, "not_created", "the server does not list it")
        return batch_id

    def _refused(self, failure: AttemptFailedError, attempt: int) -> None:
        raise_if_rejected(failure)
        if not failure.may_retry:
            raise RequestsRejectedError(
                f"The server refuses the batch: {failure.message}.",
                fix="Lower batch_max_requests or batch_max_bytes, or set mode to direct.",
            ) from failure
        pause = failure.retry_after_s if failure.retry_after_s is not None else self._session.backoff_s(attempt)
        self._session.stopping.wait(min(pause, self._session.settings.retry_after_ceiling_s))

    def find(self, batch: OpenBatch, *, patient: bool = True) -> str | None:
        """Look for a batch in the server's list, until it has had time to show up there.

        Raises:
            CircuitOpenError: If the server does not list its batches.
            RequestsRejectedError: If the server refuses the key.
        """
        session = self._session

        def look() -> str | None:
            """Batches that the ledger knows cannot be the one that was lost."""
            return find_created_batch(session.client, batch, known=self._rows.known_batch_ids())

        until = time.monotonic() + (session.settings.batch_adopt_grace_s if patient else 0.0)
        while True:
            found = self.patiently("list batches", look)
            if found is not None or time.monotonic() >= until:
                return found
            session.stopping.wait(min(2.0, max(0.05, session.settings.batch_adopt_grace_s / 10)))

    def patiently(self, what: str, call: Callable[[], T]) -> T:
        """Make a free request, again after passing failures.

        Raises:
            CircuitOpenError: If it keeps failing.
            RequestsRejectedError: If the server refuses the key.
        """
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
