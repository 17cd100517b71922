"""Opening the vector store: an embedded folder or a Qdrant server.

What belongs here: clients, the lock of the embedded store, how it writes to disk. What does not: what is stored.

The embedded client loads `meta.json` *before* it takes its lock, and writes all of `meta.json` at each change. Whoever
waits for the lock would therefore undo an alias change made while it waited. So a lock of our own is taken first, and a
store that changed while it was being loaded (by somebody who does not know our lock) is loaded again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import ConfigurationError, ServingError, StoreLockedError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

LOCK_FILE = ".domain_embed.lock"
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class QdrantSettings:
    """Where the vectors live: a folder (`path`) or a server (`url`), exactly one of them."""

    path: str | None = None
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    prefer_grpc: bool = False
    grpc_port: int = 6334
    ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; None for those the system knows."""
    client_cert_file: str | None = None
    """PEM file of our own certificate and its key, where the server asks for one."""
    timeout_s: int = 60
    """Of one request to a server; the client's own default of 5 s is too short for big batches."""
    lock_timeout_s: float = 30.0
    """How long to wait for an embedded store that another process has open."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            raise ConfigurationError(
                f"Vector store needs either a path or a url; got path={self.path!r}, url={self.url!r}.",
                fix="Set DOMAIN_EMBED_QDRANT_URL for a server, or leave it empty for the embedded store.",
            )
        if (self.ca_file or self.client_cert_file) and not str(self.url).startswith("https://"):
            raise ConfigurationError(
                f"A certificate is set, but {self.url or self.path} is not reached over TLS.",
                fix="Begin DOMAIN_EMBED_QDRANT_URL with https://, or remove the certificate's setting.",
            )


def is_embedded(client: QdrantClient) -> bool:
    """Whether the client is the in-process store (folder or memory) rather than a connection to a server."""
    options = client.init_options
    return options.get("path") is not None or options.get("location") == ":memory:"


@contextlib.contextmanager
def open_store(
    settings: QdrantSettings, *, sleep: Callable[[float], None] = time.sleep, locked: bool = False
) -> Iterator[QdrantClient]:
    """A client that is closed on leaving. Open it late: an embedded store has one user at a time.

    Args:
        settings: Where the vectors live.
        sleep: Waits for a user of the embedded store who does not know our lock.
        locked: Whether the caller holds `locked_folder` already.

    Raises:
        StoreLockedError: If another process keeps the embedded store open for `lock_timeout_s`.
    """
    if settings.url is not None:
        with contextlib.closing(_connect(settings)) as client:
            yield client
        return
    lock = contextlib.nullcontext() if locked else locked_folder(settings)
    with lock, contextlib.closing(_load_folder(settings, sleep)) as client:
        make_writes_fast(client)
        yield client


def _connect(settings: QdrantSettings) -> QdrantClient:
    from qdrant_client import QdrantClient

    return QdrantClient(
        url=settings.url,
        api_key=settings.api_key,
        prefer_grpc=settings.prefer_grpc,
        grpc_port=settings.grpc_port,
        timeout=settings.timeout_s,
        check_compatibility=False,
        **_tls(settings),
    )


def _tls(settings: QdrantSettings) -> dict[str, Any]:
    """Our own certificates, for the client's REST side and its gRPC side."""
    if settings.ca_file is None and settings.client_cert_file is None:
        return {}
    import ssl

    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        channel: dict[str, bytes] = {}
        if settings.ca_file is not None:
            channel["root_certificates"] = Path(settings.ca_file).read_bytes()
        if settings.client_cert_file is not None:
            context.load_cert_chain(settings.client_cert_file)
            ours = Path(settings.client_cert_file).read_bytes()
            channel |= {"private_key": ours, "certificate_chain": ours}
    except OSError as error:
        raise ConfigurationError(
            f"The certificates {settings.ca_file or ''} {settings.client_cert_file or ''} cannot be used: {error}",
            fix="Give DOMAIN_EMBED_QDRANT_CA_FILE and DOMAIN_EMBED_QDRANT_CLIENT_CERT_FILE readable PEM files.",
        ) from error
    return {"verify": context, "grpc_options": channel}


@contextlib.contextmanager
def locked_folder(settings: QdrantSettings) -> Iterator[None]:
    """Hold the embedded store's folder against all others who open it through this package.

    Raises:
        StoreLockedError: If another process holds it for `lock_timeout_s`.
    """
    import filelock

    folder = Path(str(settings.path))
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=settings.lock_timeout_s)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise _locked_error(settings) from None
    try:
        yield
    finally:
        lock.release()


def _load_folder(settings: QdrantSettings, sleep: Callable[[float], None]) -> QdrantClient:
    from qdrant_client import QdrantClient

    folder = Path(str(settings.path))
    waited_s = 0.0
    while True:
        before = disk_state(folder)
        try:
            client = QdrantClient(path=str(folder))
        except RuntimeError as error:
            if "already accessed by another instance" not in str(error):
                raise
            if waited_s >= settings.lock_timeout_s:
                raise _locked_error(settings) from error
        else:
            if not before or disk_state(folder) == before:
                return client
            client.close()
            if waited_s >= settings.lock_timeout_s:
                raise _locked_error(settings)
        sleep(_POLL_S)
        waited_s += _POLL_S


def _locked_error(settings: QdrantSettings) -> StoreLockedError:
    return StoreLockedError(
        f"Another process has had the embedded store {settings.path} open for {settings.lock_timeout_s:g} s.",
        fix="Wait for it to end, or run a Qdrant server and set DOMAIN_EMBED_QDRANT_URL: a server has no such limit.",
    )


def disk_state(folder: str | Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file that holds data."""
    folder = Path(folder)
    files = [folder / "meta.json", *folder.glob("collection/*/storage.sqlite")]
    states = {}
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            states[str(file)] = (status.st_size, status.st_mtime_ns)
    return states


def make_writes_fast(client: QdrantClient, collection: str | None = None) -> None:
    """Spare the embedded store one fsync a point (132 points/s became 3,360), of one collection or of all.

    With a write-ahead log and `synchronous=NORMAL` a killed process loses nothing that was acknowledged; `persist`
    covers a power failure. The connection is a private attribute of the client, so its absence only costs speed.
    """
    for connection in _local_connections(client, collection):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            logger.warning("Embedded store keeps its slow writes: %s", error)


def persist(client: QdrantClient, collection: str) -> None:
    """Force what an embedded collection holds, and the list of collections and aliases, to the disk.

    Raises:
        ServingError: If the disk refuses.
    """
    try:
        for connection in _local_connections(client, collection):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        folder = client.init_options.get("path")
        if folder is not None:
            for name in (Path(folder) / "meta.json", Path(folder)):
                _fsync(name)
    except (OSError, sqlite3.Error) as error:
        raise ServingError(
            f"Collection {collection} could not be forced to disk: {error}", fix="Free disk space, then run again."
        ) from error


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _local_connections(client: QdrantClient, collection: str | None) -> Iterator[sqlite3.Connection]:
    collections: dict[str, Any] = getattr(getattr(client, "_client", None), "collections", None) or {}
    for name, local in collections.items():
        connection = getattr(getattr(local, "storage", None), "storage", None)
        if isinstance(connection, sqlite3.Connection) and collection in (None, name):
            yield connection
