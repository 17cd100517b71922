"""Finding a batch whose creation got no answer.

Creating a batch is not idempotent and a batch carries no mark of its owner until its results are read. So: remember the
newest batch before creating; afterwards, one that is newer, as large and in no ledger row is ours, until its results
say otherwise. What does not belong here: deciding what to do with it (`batches`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from domain_embed_pipeline.questions.batch_ledger import OpenBatch
from domain_embed_pipeline.questions.client import AttemptFailedError, BatchState, MessagesClient

_CLOCK_SKEW_S = 3600.0
"""Batches that the server dates this much before the intent are certainly not ours, whatever the clocks say."""
_MAX_PAGES = 50


def creation_is_ambiguous(failure: AttemptFailedError) -> bool:
    """Whether the server may have created the batch although it did not say so."""
    return failure.kind in ("timeout", "connection", "bad_answer", "server")


def newest_batch_id(client: MessagesClient) -> str:
    """Id of the newest batch of the workspace; empty when there is none.

    Raises:
        AttemptFailedError: If the server does not say.
    """
    batches, _ = client.list_batches(limit=1)
    return batches[0].batch_id if batches else ""


def find_created_batch(client: MessagesClient, batch: OpenBatch, *, known: AbstractSet[str]) -> str | None:
    """Id of the oldest batch that can be the intended one, or None.

    Raises:
        AttemptFailedError: If the server does not list its batches.
    """
    candidates = [
        state.batch_id
        for state in _newer_batches(client, batch)
        if state.request_count == batch.request_count and state.batch_id not in known
    ]
    return candidates[-1] if candidates else None


def _newer_batches(client: MessagesClient, batch: OpenBatch) -> list[BatchState]:
    """Batches of the workspace that are newer than the newest one before the intent, newest first."""
    newer: list[BatchState] = []
    after_id = None
    for _ in range(_MAX_PAGES):
        page, has_more = client.list_batches(after_id=after_id)
        for state in page:
            if state.batch_id == batch.newest_before or _is_too_old(state, batch):
                return newer
            newer.append(state)
        if not has_more or not page:
            break
        after_id = page[-1].batch_id
    return newer


def _is_too_old(state: BatchState, batch: OpenBatch) -> bool:
    try:
        created = datetime.fromisoformat(state.created_at)
    except ValueError:
        return False
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return created.timestamp() < batch.intended_at - _CLOCK_SKEW_S
