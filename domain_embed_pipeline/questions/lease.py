"""One asker at a time: a lease in the ledger keeps two processes from paying for the same answers.

What belongs here: taking, renewing and giving back the lease of an answer key. What does not: who asks what.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType

import sqlalchemy as sa
from sqlalchemy import exc

from domain_embed_pipeline.errors import LedgerError
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import leases
from domain_embed_pipeline.questions.records import AnswerKey

logger = logging.getLogger(__name__)

LEASE_S = 120.0
"""A holder on another machine that was silent for this long counts as dead; one on this machine is looked up."""


class AskingLease:
    """Context manager: inside it, this process alone asks for answers of the key.

    Another process that wants the same answers waits in `__enter__`, and then finds them in the ledger. A thread renews
    the lease; `lost` is true once somebody else has taken it, which takes a pause longer than `LEASE_S`.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: AnswerKey,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        lease_s: float = LEASE_S,
    ) -> None:
        self._ledger = ledger
        self._name = f"ask/{key.prompt_version}/{key.model}/{key.parameters_digest}"[:200]
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}:{uuid.uuid4().hex[:8]}"
        self._clock, self._sleep, self._lease_s = clock, sleep, lease_s
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    def __enter__(self) -> AskingLease:
        waited = False
        while (holder := self._ledger.write(self._take)) is not None:
            if not waited:
                logger.info("Another process (%s) is asking these questions; waiting for its answers.", holder)
            waited = True
            self._sleep(min(2.0, self._lease_s / 4))
        self._thread = threading.Thread(target=self._renew_until_done, name="asking-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        mine = sa.and_(leases.c.name == self._name, leases.c.owner == self._owner)
        # When the ledger itself failed, that error is the one to see; the lease then runs out.
        with contextlib.suppress(LedgerError):
            self._ledger.write(lambda connection: connection.execute(sa.delete(leases).where(mine)))

    def _take(self, connection: sa.Connection) -> str | None:
        """Take the lease and return None, or return who holds it."""
        query = sa.select(leases.c.owner, leases.c.expires_at).where(leases.c.name == self._name).with_for_update()
        row = connection.execute(query).first()
        values = {"owner": self._owner, "expires_at": self._clock() + self._lease_s}
        if row is None:
            try:
                with connection.begin_nested():
                    connection.execute(sa.insert(leases).values(name=self._name, **values))
            except exc.IntegrityError:
                return "one that was a moment faster"
            return None
        if row.owner != self._owner and row.expires_at > self._clock() and not _is_dead_here(row.owner):
            return row.owner
        connection.execute(sa.update(leases).where(leases.c.name == self._name).values(values))
        return None

    def _renew_until_done(self) -> None:
        mine = sa.and_(leases.c.name == self._name, leases.c.owner == self._owner)
        while not self._done.wait(self._lease_s / 4):
            renewal = sa.update(leases).where(mine).values(expires_at=self._clock() + self._lease_s)
            try:
                renewed = self._ledger.write(lambda connection, renewal=renewal: connection.execute(renewal).rowcount)
            except LedgerError:
                logger.exception("The asking lease could not be renewed.")
                renewed = 0
            if not renewed:
                self.lost = True
                return


def _is_dead_here(owner: str) -> bool:
    """Whether the owner ran on this machine and is gone: then nobody needs to wait for its lease to run out."""
    host, pid, start, _ = owner.rsplit(":", 3)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _start_of(int(pid)) != start


def _start_of(pid: int) -> str:
    """Start time of a process where the system tells it, since process numbers are used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
            fields = file.read().rsplit(")", 1)[-1].split()
    except OSError:
        return "unknown"
    # A zombie has been killed and only waits for its parent to notice.
    return "zombie" if fields[0] == "Z" else fields[19]
