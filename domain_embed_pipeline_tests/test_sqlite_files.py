"""SQLite files that several open at once."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from domain_embed_pipeline.sqlite_files import write_ahead


def locked(path: Path) -> sqlite3.Connection:
    """A new file that somebody is writing."""
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("CREATE TABLE rows (value)")
    return writer


def test_the_log_is_there_once_the_writer_is_done(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    with closing(locked(path)) as writer, closing(sqlite3.connect(path, timeout=0)) as connection:
        timer = threading.Timer(0.2, writer.execute, ["COMMIT"])
        timer.start()
        write_ahead(connection)
        timer.join()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_stays_locked_is_an_error_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    with (
        closing(locked(path)),
        closing(sqlite3.connect(path, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        write_ahead(connection, wait_s=0.05)
