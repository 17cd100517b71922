"""Batches in the ledger: intended before they are created, known by id after, settled item by item.

What does not belong here: talking to the server (`batches`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import batch_items, batches
from domain_embed_pipeline.questions.records import AnswerKey

OPEN_STATES = ("intended", "created")
"""`intended`: nobody knows yet whether the server has it; `created`: the server has it.

Closed ones are `collected`, `not_created`, `lost` (the server no longer has it) and `foreign` (adopted by mistake)."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose results are still to come."""

    intent_id: str
    batch_id: str | None
    newest_before: str
    request_count: int
    cost_bound_usd: float
    intended_at: float
    """Unix time."""
    created_at: float | None
    waiting: dict[str, str]
    """`custom_id -> chunk_id` of items without a result."""


class BatchLedger:
    """Batches of one answer key."""

    def __init__(self, ledger: Ledger, key: AnswerKey, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._key, self._clock = ledger, key, clock

    def intend(
        self, intent_id: str, items: Sequence[tuple[str, str]], *, newest_before: str, cost_bound_usd: float
    ) -> OpenBatch:
        """Record that a batch of (custom id, chunk id) is about to be created."""
        now = self._clock()
        row = {
            "intent_id": intent_id,
            "prompt_version": self._key.prompt_version,
            "model": self._key.model,
            "parameters_digest": self._key.parameters_digest,
            "state": "intended",
            "batch_id": None,
            "newest_before": newest_before,
            "request_count": len(items),
            "cost_bound_usd": cost_bound_usd,
            "intended_at": now,
            "created_at": None,
            "detail": "",
        }
        item_rows = [
            {"intent_id": intent_id, "custom_id": custom_id, "chunk_id": chunk_id, "state": "waiting", "detail": ""}
            for custom_id, chunk_id in items
        ]

        def write(connection: sa.Connection) -> None:
            """The batch and its places together, so that no place is without a batch."""
            connection.execute(sa.insert(batches), [row])
            connection.execute(sa.insert(batch_items), item_rows)

        self._ledger.write(write)
        return OpenBatch(intent_id, None, newest_before, len(items), cost_bound_usd, now, None, dict(items))

    def created(self, intent_id: str, batch_id: str) -> None:
        """Record the id that the server gave."""
        self._set(intent_id, state="created", batch_id=batch_id, created_at=self._clock())

    def close(self, intent_id: str, state: str, detail: str = "") -> None:
        """Record that nothing more is to come."""
        self._set(intent_id, state=state, detail=detail[:300])

    def disown(self, intent_id: str, batch_id: str) -> None:
        """Record that an adopted batch is somebody else's: it is not adopted again, and the intent is open again."""
        row = {
            "intent_id": f"foreign-{batch_id}"[:64],
            "prompt_version": self._key.prompt_version,
            "model": self._key.model,
            "parameters_digest": self._key.parameters_digest,
            "state": "foreign",
            "batch_id": batch_id,
            "newest_before": "",
            "request_count": 0,
            "cost_bound_usd": 0.0,
            "intended_at": self._clock(),
            "created_at": None,
            "detail": f"adopted for {intent_id}, but its results belong to somebody else",
        }

        def write(connection: sa.Connection) -> None:
            """Our batch is open again, the other one is remembered as not ours."""
            mine = batches.c.intent_id == intent_id
            connection.execute(sa.update(batches).where(mine).values(state="intended", batch_id=None, created_at=None))
            connection.execute(sa.insert(batches).values(row))

        self._ledger.write(write)

    def settle(self, intent_id: str, items: Iterable[tuple[str, str, str]]) -> None:
        """Record (custom id, state, detail) of items that have a result."""
        rows = [
            {"b_custom_id": custom_id, "state": state, "detail": detail[:300]} for custom_id, state, detail in items
        ]
        if not rows:
            return
        statement = sa.update(batch_items).where(
            batch_items.c.intent_id == intent_id, batch_items.c.custom_id == sa.bindparam("b_custom_id")
        )
        self._ledger.write(lambda connection: connection.execute(statement, rows))

    def open_batches(self) -> list[OpenBatch]:
        """Batches of the key that are not closed, oldest first."""
        query = sa.select(batches).where(
            batches.c.prompt_version == self._key.prompt_version,
            batches.c.model == self._key.model,
            batches.c.parameters_digest == self._key.parameters_digest,
            batches.c.state.in_(OPEN_STATES),
        )
        rows = self._ledger.read(query.order_by(batches.c.intended_at, batches.c.intent_id))
        return [self._open_batch(row) for row in rows]

    def open_batch(self, intent_id: str) -> OpenBatch:
        """One batch by its intent."""
        (row,) = self._ledger.read(sa.select(batches).where(batches.c.intent_id == intent_id))
        return self._open_batch(row)

    def known_batch_ids(self) -> frozenset[str]:
        """Ids of every batch in the ledger, of whatever key."""
        query = sa.select(batches.c.batch_id).where(batches.c.batch_id.is_not(None))
        return frozenset(row.batch_id for row in self._ledger.read(query))

    def _open_batch(self, row: sa.Row[Any]) -> OpenBatch:
        items = sa.select(batch_items.c.custom_id, batch_items.c.chunk_id).where(
            batch_items.c.intent_id == row.intent_id, batch_items.c.state == "waiting"
        )
        return OpenBatch(
            row.intent_id,
            row.batch_id,
            row.newest_before,
            row.request_count,
            row.cost_bound_usd,
            row.intended_at,
            row.created_at,
            {item.custom_id: item.chunk_id for item in self._ledger.read(items)},
        )

    def _set(self, intent_id: str, **values: Any) -> None:
        statement = sa.update(batches).where(batches.c.intent_id == intent_id).values(**values)
        self._ledger.write(lambda connection: connection.execute(statement))
