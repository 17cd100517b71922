"""Tables of the ledger, and how its database is opened.

What does not belong here: what is written and read (`ledger`, `batch_ledger`, `lease`). No column holds a key, a secret
or the chunk's text. Whoever changes a table moves `SCHEMA_VERSION` and adds the step that brings an older one up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from domain_embed_pipeline.errors import ConfigurationError, LedgerError, MissingDependencyError
from domain_embed_pipeline.sqlite_files import write_ahead

SCHEMA_VERSION = 1

_POSTGRES_SCHEMA_LOCK = 6_173_202_611
"""Any constant: two processes that create the tables at once take turns."""

metadata = sa.MetaData()

ledger_meta = sa.Table(
    "ledger_meta",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(256), nullable=False),
)

responses = sa.Table(
    "responses",
    metadata,
    sa.Column("response_id", sa.Integer, primary_key=True, autoincrement=True),
    # One paid answer has one delivery key, however often it is delivered (a batch's results can be read again).
    sa.Column("delivery_key", sa.String(200), nullable=False, unique=True),
    sa.Column("chunk_id", sa.String(64), nullable=False, index=True),
    sa.Column("prompt_version", sa.String(64), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("parameters_digest", sa.String(64), nullable=False),
    sa.Column("batch_id", sa.String(200)),
    sa.Column("request_id", sa.String(200), nullable=False),
    sa.Column("message_id", sa.String(200), nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("cache_write_5m_tokens", sa.Integer, nullable=False),
    sa.Column("cache_write_1h_tokens", sa.Integer, nullable=False),
    sa.Column("cache_read_tokens", sa.Integer, nullable=False),
    sa.Column("thinking_tokens", sa.Integer, nullable=False),
    sa.Column("service_tier", sa.String(32), nullable=False),
    sa.Column("cost_usd", sa.Double, nullable=False),
    sa.Column("stop_reason", sa.String(64), nullable=False),
    sa.Column("refusal_category", sa.String(64), nullable=False),
    sa.Column("raw_text", sa.Text, nullable=False),
    sa.Column("parser_version", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("questions", sa.Text, nullable=False),
    sa.Column("rejected", sa.Text, nullable=False),
    sa.Column("received_at", sa.String(40), nullable=False),
    sa.Index("ix_responses_answer_key", "prompt_version", "model", "parameters_digest", "chunk_id"),
)

recorded_questions = sa.Table(
    "recorded_questions",
    metadata,
    sa.Column("recorded_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("chunk_id", sa.String(64), nullable=False, index=True),
    sa.Column("question_id", sa.String(64), nullable=False),
    sa.Column("style", sa.String(64), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("generator", sa.String(200), nullable=False),
    sa.Column("cost_usd", sa.Double, nullable=False),
    sa.Column("imported_at", sa.String(40), nullable=False),
    sa.UniqueConstraint("question_id", "generator", name="uq_recorded_question"),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("intent_id", sa.String(64), primary_key=True),
    sa.Column("prompt_version", sa.String(64), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("parameters_digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(32), nullable=False, index=True),
    sa.Column("batch_id", sa.String(200), unique=True),
    # Newest batch of the workspace when the intent was written: ours, if it was created, is newer.
    sa.Column("newest_before", sa.String(200), nullable=False),
    sa.Column("request_count", sa.Integer, nullable=False),
    sa.Column("cost_bound_usd", sa.Double, nullable=False),
    sa.Column("intended_at", sa.Double, nullable=False),
    sa.Column("created_at", sa.Double),
    sa.Column("detail", sa.Text, nullable=False),
)

batch_items = sa.Table(
    "batch_items",
    metadata,
    sa.Column("intent_id", sa.String(64), primary_key=True),
    sa.Column("custom_id", sa.String(64), primary_key=True),
    sa.Column("chunk_id", sa.String(64), nullable=False, index=True),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
)


def open_engine(url: str) -> sa.Engine:
    """Engine of a ledger URL: SQLite in WAL mode with full sync, or PostgreSQL through psycopg.

    Raises:
        ConfigurationError: If the URL is unusable, or names a database that keeps nothing or is not supported.
        MissingDependencyError: If the PostgreSQL driver is not installed.
    """
    parsed = _parsed_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    try:
        return sa.create_engine(parsed, pool_pre_ping=True, pool_size=4, max_overflow=60, pool_timeout=120)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "The PostgreSQL driver psycopg is not installed.", fix="pip install 'domain-embed-pipeline[postgres]'"
        ) from error


def _parsed_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except exc.ArgumentError:
        # The message of the original error repeats the URL, which may hold a password.
        raise ConfigurationError("The ledger URL is not a database URL.", fix=_URL_FIX) from None
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(f"The ledger cannot be kept in {backend}.", fix=_URL_FIX)
    if parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("A ledger in memory would forget answers that were paid for.", fix=_URL_FIX)
    return parsed


_URL_FIX = "Use sqlite:///path/to/ledger.sqlite or postgresql://user@host/database."


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    Path(str(url.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 60}, pool_size=4, max_overflow=300, pool_timeout=120)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        write_ahead(connection)
        cursor = connection.cursor()
        # FULL: a stored answer survives a power cut; measured at 1 to 5 ms an answer.
        cursor.execute("PRAGMA synchronous=FULL")
        # Erased text is overwritten, not only unlinked.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return
        # A transaction that reads first and writes later fails at once when somebody else wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def create_tables(engine: sa.Engine) -> None:
    """Create what is missing and check the version of what is there.

    Raises:
        LedgerError: If the database cannot be opened, or was written by another version of the package.
    """
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRES_SCHEMA_LOCK)))
            metadata.create_all(connection)
            version = connection.scalar(sa.select(ledger_meta.c.value).where(ledger_meta.c.name == "schema_version"))
            if version is None:
                row = {"name": "schema_version", "value": str(SCHEMA_VERSION)}
                connection.execute(sa.insert(ledger_meta).values(row))
                version = str(SCHEMA_VERSION)
    except exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or type(error).__name__)
        raise LedgerError(
            f"The ledger at {shown} cannot be opened: {cause}.",
            fix="Check that the path or server exists, can be written and is a database.",
        ) from None
    if version != str(SCHEMA_VERSION):
        raise LedgerError(
            f"The ledger at {shown} has schema version {version}; this package reads version {SCHEMA_VERSION}.",
            fix="Use the package version that wrote it, or another ledger URL.",
        )
