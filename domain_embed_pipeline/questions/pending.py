"""Batches that still run on the server, for whoever waits without a worker.

What belongs here: a look at all of them, whatever their key. What does not: collecting them (`batches`).
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from domain_embed_pipeline.questions.batch_ledger import OPEN_STATES
from domain_embed_pipeline.questions.client import AttemptFailedError, MessagesClient
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import batches


@dataclass(frozen=True, slots=True)
class PendingBatches:
    """What a look at the open batches of the ledger showed."""

    intent_ids: tuple[str, ...]
    """Every open batch, oldest first."""
    running: tuple[str, ...]
    """Those that the server still works on."""
    request_count: int

    @property
    def are_done(self) -> bool:
        """Whether a run can collect all of them without waiting."""
        return bool(self.intent_ids) and not self.running


def has_open_batches(ledger: Ledger) -> bool:
    """Whether any batch is still to be collected; asks nobody but the ledger."""
    return bool(_open_rows(ledger))


def look_at_batches(ledger: Ledger, client: MessagesClient) -> PendingBatches:
    """Ask the server once for the state of every open batch.

    A batch whose creation got no answer, or that the server does not know, keeps nobody waiting: the next run settles
    it.

    Raises:
        AttemptFailedError: If the server does not say.
    """
    rows = _open_rows(ledger)
    running = [row.batch_id for row in rows if row.batch_id is not None and not _has_ended(client, row.batch_id)]
    return PendingBatches(tuple(row.intent_id for row in rows), tuple(running), sum(row.request_count for row in rows))


def _open_rows(ledger: Ledger) -> list[sa.Row]:
    query = sa.select(batches.c.intent_id, batches.c.batch_id, batches.c.request_count).where(
        batches.c.state.in_(OPEN_STATES)
    )
    return list(ledger.read(query.order_by(batches.c.intended_at, batches.c.intent_id)))


def _has_ended(client: MessagesClient, batch_id: str) -> bool:
    try:
        return client.retrieve_batch(batch_id).status == "ended"
    except AttemptFailedError as failure:
        if failure.kind != "not_found":
            raise
        return True
