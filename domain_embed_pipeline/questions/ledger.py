"""The ledger: every answer that was paid for, stored the moment it arrived, and questions that somebody already had.

What belongs here: storing and finding answers and recorded questions. What does not: asking (`direct`, `batches`), the
meaning of an answer (`parsing`). Safe for several threads and processes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite

from domain_embed_pipeline.errors import LedgerError
from domain_embed_pipeline.questions.ledger_tables import (
    batch_items,
    create_tables,
    open_engine,
    recorded_questions,
    responses,
)
from domain_embed_pipeline.questions.parsing import PARSER_VERSION
from domain_embed_pipeline.questions.records import (
    AnswerKey,
    Outcome,
    ParsedAnswer,
    ParsedQuestion,
    ReceivedAnswer,
    RejectedText,
    Usage,
    question_id_of,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SLICE = 500
_WRITE_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """An answer on its way into the ledger."""

    chunk_id: str
    delivery_key: str
    received: ReceivedAnswer
    parsed: ParsedAnswer
    cost_usd: float
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it lies in the ledger."""

    response_id: int
    chunk_id: str
    received: ReceivedAnswer
    parsed: ParsedAnswer
    parser_version: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class RecordedQuestion:
    """A question that was imported."""

    chunk_id: str
    style: str
    text: str
    generator: str

    @property
    def question_id(self) -> str:
        """Content id."""
        return question_id_of(self.chunk_id, self.style, self.text)


class Ledger:
    """Answers and recorded questions in one database.

    Args:
        url: SQLAlchemy URL: `sqlite:///path` (its folder is made) or `postgresql://...`.

    Raises:
        ConfigurationError: If the URL is unusable.
        LedgerError: If the database cannot be opened or is of another version.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.name = self.engine.url.render_as_string(hide_password=True)
        create_tables(self.engine)

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def store_answer(self, key: AnswerKey, answer: PaidAnswer) -> bool:
        """Store one answer; False when this delivery is stored already."""
        return self.store_answers(key, [answer]) == 1

    def store_answers(self, key: AnswerKey, answers: Sequence[PaidAnswer]) -> int:
        """Store answers in one transaction and return how many were new.

        Raises:
            LedgerError: If the database still refuses after several attempts.
        """
        rows = [_row_of(key, answer) for answer in answers]

        def write(connection: sa.Connection) -> int:
            """How many were new: a delivery that is there already is left as it is."""
            return sum(self._insert_new(connection, responses, row, ["delivery_key"]) for row in rows)

        return self.write(write)

    def answers(self, key: AnswerKey, chunk_ids: Iterable[str]) -> dict[str, list[StoredAnswer]]:
        """`chunk_id -> answers` of one key, in the order of their arrival."""
        found: dict[str, list[StoredAnswer]] = {}
        condition = _has_key(key)
        for part in _slices(chunk_ids):
            query = sa.select(responses).where(condition, responses.c.chunk_id.in_(part)).order_by("response_id")
            for row in self.read(query):
                found.setdefault(row.chunk_id, []).append(_stored(row))
        return found

    def replace_parsed(self, parsed: Iterable[tuple[int, ParsedAnswer]]) -> None:
        """Store what a newer parser made of answers that are in the ledger."""
        rows = [(response_id, _parsed_columns(answer)) for response_id, answer in parsed]

        def write(connection: sa.Connection) -> None:
            """The raw text stays; only what was read from it changes."""
            for response_id, columns in rows:
                connection.execute(sa.update(responses).where(responses.c.response_id == response_id).values(columns))

        self.write(write)

    # ── recorded questions ───────────────────────────────────────────────────────────────────────────────────────

    def add_recorded(self, questions: Iterable[RecordedQuestion]) -> int:
        """Store imported questions; those that are there already change nothing. Returns how many were new."""
        now = _now()
        rows = [
            {
                "chunk_id": question.chunk_id,
                "question_id": question.question_id,
                "style": question.style,
                "text": question.text,
                "generator": question.generator,
                "cost_usd": 0.0,
                "imported_at": now,
            }
            for question in questions
        ]

        def write(connection: sa.Connection) -> int:
            """How many were new: one question of one generator is there once."""
            unique = ["question_id", "generator"]
            return sum(self._insert_new(connection, recorded_questions, row, unique) for row in rows)

        return self.write(write)

    def recorded(self, chunk_ids: Iterable[str]) -> dict[str, list[RecordedQuestion]]:
        """`chunk_id -> imported questions`, in the order of their import."""
        found: dict[str, list[RecordedQuestion]] = {}
        for part in _slices(chunk_ids):
            table = recorded_questions.c
            query = sa.select(table.chunk_id, table.style, table.text, table.generator).where(table.chunk_id.in_(part))
            for row in self.read(query.order_by(table.recorded_id)):
                found.setdefault(row.chunk_id, []).append(RecordedQuestion(*row))
        return found

    def question_texts(self, chunk_ids: Iterable[str]) -> dict[str, list[str]]:
        """`chunk_id -> valid questions`, imported or of any model under any prompt; each once, in order of arrival."""
        found: dict[str, dict[str, None]] = {}
        for part in _slices(chunk_ids):
            recorded = sa.select(recorded_questions.c.chunk_id, recorded_questions.c.text)
            for row in self.read(recorded.where(recorded_questions.c.chunk_id.in_(part)).order_by("recorded_id")):
                found.setdefault(row.chunk_id, {})[row.text] = None
            answered = sa.select(responses.c.chunk_id, responses.c.questions).where(responses.c.chunk_id.in_(part))
            for row in self.read(answered.order_by("response_id")):
                for question in json.loads(row.questions):
                    found.setdefault(row.chunk_id, {})[question["text"]] = None
        return {chunk_id: list(texts) for chunk_id, texts in found.items()}

    # ── erasure ──────────────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, chunk_ids: Iterable[str]) -> int:
        """Erase everything that was derived from chunks: answers, verdicts on pairs, recorded questions, batch places.

        An answer of a running batch that arrives later is dropped, since its place is gone. Returns the rows erased.
        """
        parts = list(_slices(chunk_ids))

        def write(connection: sa.Connection) -> int:
            """Rows erased from all tables."""
            count = 0
            for part in parts:
                for table in (responses, recorded_questions, batch_items):
                    count += connection.execute(sa.delete(table).where(_is_of(table, part))).rowcount
            return count

        erased = self.write(write)
        if self.engine.dialect.name == "sqlite":
            with self._reader.connect() as connection:
                # Until the write-ahead log is cut, it still holds the erased pages.
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased

    # ── plumbing shared with `batch_ledger` and `lease` ──────────────────────────────────────────────────────────

    def read(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """All rows of a query."""
        with self._reader.connect() as connection:
            return connection.execute(query).all()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a transaction, again when the database was busy or the connection was lost.

        Raises:
            LedgerError: If it still fails after several attempts.
        """
        cause = ""
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except exc.OperationalError as error:
                cause = str(error.orig)
                logger.warning("The ledger refused a write (attempt %d of %d): %s", attempt + 1, _WRITE_ATTEMPTS, cause)
                if attempt + 1 < _WRITE_ATTEMPTS:
                    time.sleep(0.2 * 2**attempt)
        raise LedgerError(
            f"The ledger at {self.name} cannot be written: {cause}.",
            fix="Free the disk or bring the database back, then run again: stored answers are not asked again.",
        )

    def _insert_new(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any], unique: list[str]) -> int:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(table).values(row).on_conflict_do_nothing(index_elements=unique)
        # The row count of such an insert is -1 on PostgreSQL; a returned row means that it was new.
        return len(connection.execute(statement.returning(*table.primary_key.columns)).all())


def _slices(chunk_ids: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(chunk_ids))
    for start in range(0, len(ordered), _SLICE):
        yield ordered[start : start + _SLICE]


def _has_key(key: AnswerKey) -> sa.ColumnElement[bool]:
    return sa.and_(
        responses.c.prompt_version == key.prompt_version,
        responses.c.model == key.model,
        responses.c.parameters_digest == key.parameters_digest,
    )


def _is_of(table: sa.Table, chunk_ids: list[str]) -> sa.ColumnElement[bool]:
    """Rows of the chunks, and those filed under a chunk id with a part behind a slash (verdicts on its pairs)."""
    prefixes = [f"{chunk_id}/" for chunk_id in chunk_ids]
    by_length = [
        sa.func.substr(table.c.chunk_id, 1, length).in_([prefix for prefix in prefixes if len(prefix) == length])
        for length in {len(prefix) for prefix in prefixes}
    ]
    return sa.or_(table.c.chunk_id.in_(chunk_ids), *by_length)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and no encoding takes lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _parsed_columns(parsed: ParsedAnswer) -> dict[str, Any]:
    return {
        "parser_version": 0 if parsed.outcome == "unparsed" else PARSER_VERSION,
        "outcome": parsed.outcome,
        "detail": _storable(parsed.detail),
        "questions": json.dumps([dataclasses.asdict(question) for question in parsed.questions], ensure_ascii=False),
        "rejected": json.dumps([dataclasses.asdict(text) for text in parsed.rejected]),
    }


def _row_of(key: AnswerKey, answer: PaidAnswer) -> dict[str, Any]:
    received = answer.received
    return {
        "delivery_key": answer.delivery_key,
        "chunk_id": answer.chunk_id,
        **dataclasses.asdict(key),
        "batch_id": answer.batch_id,
        "request_id": received.request_id[:200],
        "message_id": received.message_id[:200],
        **dataclasses.asdict(received.usage),
        "cost_usd": answer.cost_usd,
        "stop_reason": received.stop_reason[:64],
        "refusal_category": received.refusal_category[:64],
        "raw_text": _storable(received.text),
        **_parsed_columns(answer.parsed),
        "received_at": _now(),
    }


def _stored(row: sa.Row[Any]) -> StoredAnswer:
    usage = Usage(*(getattr(row, field.name) for field in dataclasses.fields(Usage)))
    outcome: Outcome = row.outcome
    return StoredAnswer(
        response_id=row.response_id,
        chunk_id=row.chunk_id,
        received=ReceivedAnswer(
            row.raw_text, row.stop_reason, usage, row.request_id, row.message_id, row.refusal_category
        ),
        parsed=ParsedAnswer(
            outcome,
            tuple(ParsedQuestion(**question) for question in json.loads(row.questions)),
            tuple(RejectedText(**text) for text in json.loads(row.rejected)),
            row.detail,
        ),
        parser_version=row.parser_version,
        cost_usd=row.cost_usd,
    )
