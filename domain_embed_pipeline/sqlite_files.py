"""SQLite files that several processes use at once."""

from __future__ import annotations

import sqlite3
import time

WAIT_S = 60.0
"""As long as other statements wait for a lock."""


def write_ahead(connection: sqlite3.Connection, *, wait_s: float = WAIT_S) -> None:
    """Give the file a write-ahead log, so that readers and a writer do not wait for each other.

    Where two open a new file at once, SQLite tells one of them that it is locked and does not wait for the connection's
    timeout, as it does for every other statement (https://sqlite.org/wal.html, "Sometimes queries return SQLITE_BUSY").

    Raises:
        sqlite3.OperationalError: If the file stays locked for `wait_s` seconds, or cannot be written.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
