"""The store as readers use it: a connection to a server, or a copy in memory of what an embedded folder serves.

What belongs here: getting at the live collection without keeping anybody from writing. What does not: queries.

An embedded store has one user at a time, and a service that kept it open would stop every pipeline run. So a reader
takes the lock only while it copies the collection behind the alias into memory, where the embedded client searches
anyway. Whenever the folder has changed it copies again, and goes on with the copy it has while somebody writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import StoreLockedError
from domain_embed_pipeline.serving.contents import SCROLL_PAGE
from domain_embed_pipeline.serving.store import QdrantSettings, disk_state, locked_folder, open_store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


class ReadableStore:
    """Gives the client to read one alias with. Threads may share it."""

    def __init__(self, settings: QdrantSettings, alias: str, *, in_background: bool = False) -> None:
        """Nothing is opened before it is asked for.

        Args:
            settings: Where the vectors live.
            alias: What will be read.
            in_background: Read a changed folder while the copy at hand goes on serving. It took 2 s for 10,000 chunks.
        """
        self._settings = settings
        self._alias = alias
        self._in_background = in_background
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._client: QdrantClient | None = None
        self._disk_state: dict[str, tuple[int, int]] = {}

    def client(self) -> QdrantClient:
        """A client that knows the alias as it is now. A new object means that the contents changed.

        Raises:
            StoreLockedError: If the embedded store is in use and there is no copy yet.
        """
        client = self._client
        if client is not None and (self._settings.url is not None or self._is_current()):
            return client
        if client is None:
            with self._lock:
                return self._client or self._open()
        if self._lock.acquire(blocking=False):
            if self._in_background:
                threading.Thread(target=self._refresh_quietly, daemon=True).start()
            else:
                self._refresh_and_release()
        return self._client or client

    def close(self) -> None:
        """Give up the connection or the copy."""
        with self._lock:
            self._stack.close()
            self._client = None

    def _is_current(self) -> bool:
        return disk_state(str(self._settings.path)) == self._disk_state

    def _open(self) -> QdrantClient:
        if self._settings.url is not None:
            self._client = self._stack.enter_context(open_store(self._settings))
            return self._client
        return self._read(self._settings)

    def _refresh_quietly(self) -> None:
        try:
            self._refresh_and_release()
        except Exception:
            logger.exception("%s cannot be read again; the copy from before goes on serving", self._settings.path)

    def _refresh_and_release(self) -> None:
        try:
            # Whoever is writing will be done some time; until then the copy at hand is complete and consistent.
            with contextlib.suppress(StoreLockedError):
                self._read(dataclasses.replace(self._settings, lock_timeout_s=0.0))
        finally:
            self._lock.release()

    def _read(self, settings: QdrantSettings) -> QdrantClient:
        from qdrant_client import QdrantClient, models

        copy = QdrantClient(":memory:")
        with locked_folder(settings):
            with open_store(settings, locked=True) as source:
                aliases = {row.alias_name: row.collection_name for row in source.get_aliases().aliases}
                target = aliases.get(self._alias)
                if target is not None:
                    if not adopt_collection(source, copy, target):
                        copy_collection(source, copy, target)
                    create = models.CreateAlias(collection_name=target, alias_name=self._alias)
                    copy.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
            self._disk_state = disk_state(str(settings.path))
        self._client = copy
        logger.info("Read a copy of %s from %s", target or "nothing", settings.path)
        return copy


def adopt_collection(source: QdrantClient, target: QdrantClient, collection: str) -> bool:
    """Hand what one embedded client has loaded to another without copying it; False when that cannot be done.

    Reads come from memory alone, so they go on after the source is closed. Copying 10,000 hybrid points took 5 s. The
    place where the client keeps its collections is private, hence the other way, `copy_collection`.
    """
    held: Any = getattr(getattr(source, "_client", None), "collections", None)
    holder: Any = getattr(getattr(target, "_client", None), "collections", None)
    if not isinstance(held, dict) or not isinstance(holder, dict) or collection not in held:
        return False
    holder[collection] = held[collection]
    return True


def copy_collection(source: QdrantClient, target: QdrantClient, collection: str) -> None:
    """Points, vectors, layout and metadata of one collection, from one embedded client to another."""
    from qdrant_client import models

    config = source.get_collection(collection).config
    target.create_collection(
        collection,
        vectors_config=config.params.vectors,
        sparse_vectors_config=config.params.sparse_vectors,
        metadata=config.metadata,
    )
    offset = None
    while True:
        records, offset = source.scroll(collection, limit=SCROLL_PAGE, offset=offset, with_vectors=True)
        points = [
            models.PointStruct(id=record.id, vector=record.vector or {}, payload=record.payload)  # pyright: ignore[reportArgumentType]
            for record in records
        ]
        if points:
            target.upsert(collection, points)
        if offset is None:
            return
