"""The alias: what readers query, and the only thing that changes at a swap.

What belongs here: moving it, moving it back, removing collections it no longer needs. What does not: whether it should
move (`promotion`), whether the target is complete (`verification`).

Qdrant's alias update is atomic but has no compare-and-swap. Ours reads, compares and updates under a lock on a file
that the operating system releases when the process dies. Processes on several hosts must share `lock_folder`, or be
kept apart by the orchestrator; the read-back reports a move that slipped in between.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from domain_embed_pipeline.errors import AliasConflictError, ServingError
from domain_embed_pipeline.serving.contents import point_count, vectors_of
from domain_embed_pipeline.serving.metadata import (
    CollectionMetadata,
    alias_targets,
    collection_names,
    collections_of,
    read_metadata,
    write_metadata,
)
from domain_embed_pipeline.serving.payload import DENSE_VECTOR
from domain_embed_pipeline.serving.records import AliasSwap
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, persist

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import DeleteAliasOperation

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
ABANDONED_AFTER = datetime.timedelta(days=7)
"""An unfinished build older than this is nobody's any more."""


def current_target(client: QdrantClient, alias: str, *, retries: RetryPolicy | None = None) -> str | None:
    """Collection that the alias points at, or None."""
    return alias_targets(client, retries=retries or RetryPolicy()).get(alias)


def swap_alias(
    client: QdrantClient,
    alias: str,
    collection: str,
    *,
    expected_current: str | None,
    lock_folder: str | Path,
    retries: RetryPolicy | None = None,
) -> AliasSwap:
    """Point the alias at a verified collection, if it still points where the run expects it.

    Args:
        client: Open store.
        alias: What readers query.
        collection: Where it shall point.
        expected_current: Where it pointed when the run started; None when there was no alias.
        lock_folder: Where the lock file lies; the same for all who may move this alias.
        retries: Pauses and attempts against a server.

    Raises:
        AliasConflictError: If somebody else moved the alias, or a collection bears its name.
        ServingError: If the target is missing, not ours, not verified or empty, or does not answer through the alias.
    """
    held = _Alias(client, alias, retries or RetryPolicy())
    with alias_lock(lock_folder, alias):
        return held.move(collection, expected=expected_current, kind="swap")


def rollback(
    client: QdrantClient,
    alias: str,
    to: str | None = None,
    *,
    lock_folder: str | Path,
    retries: RetryPolicy | None = None,
) -> AliasSwap:
    """Point the alias back at what it pointed at before, or at `to` (a collection or a model version).

    The older collection lacks what changed since; reconcile it afterwards with its own encoder.

    Raises:
        ServingError: If there is nothing to go back to, or it is not a complete collection of ours.
    """
    held = _Alias(client, alias, retries or RetryPolicy())
    with alias_lock(lock_folder, alias):
        current = held.target()
        return held.move(held.way_back(current, to), expected=current, kind="rollback")


def prune(
    client: QdrantClient,
    alias: str,
    keep: int = 2,
    *,
    lock_folder: str | Path,
    now: datetime.datetime | None = None,
    retries: RetryPolicy | None = None,
) -> tuple[str, ...]:
    """Delete collections of this alias beyond the `keep` that served last; returns their names.

    Never deleted: what any alias points at, what is not ours, and builds younger than a week. The collection that
    `rollback` would go to is the first of those kept.
    """
    if keep < 0:
        raise ServingError(f"keep={keep} is negative.", fix="Keep 0 or more previous collections.")
    held = _Alias(client, alias, retries or RetryPolicy())
    now = now or datetime.datetime.now(datetime.UTC)
    deleted = []
    with alias_lock(lock_folder, alias):
        for name in held.prunable(keep=keep, now=now):
            # Another alias may have been pointed at it since the list was made.
            if name not in alias_targets(client, retries=held.retries).values():
                held.delete(name)
                deleted.append(name)
    return tuple(deleted)


@contextlib.contextmanager
def alias_lock(lock_folder: str | Path, alias: str) -> Iterator[None]:
    """Hold the right to move an alias. The lock dies with its process.

    Raises:
        AliasConflictError: If another process holds it for a minute.
    """
    import filelock

    folder = Path(lock_folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{alias}.alias.lock", timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise AliasConflictError(
            f"Another process has been moving the alias {alias} for {LOCK_TIMEOUT_S:g} s ({lock.lock_file}).",
            fix="Wait for it to end, then run again.",
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Alias:
    """One alias of an open store, for whoever holds its lock."""

    client: QdrantClient
    name: str
    retries: RetryPolicy

    def target(self) -> str | None:
        """Collection that it points at, or None."""
        return current_target(self.client, self.name, retries=self.retries)

    def move(self, collection: str, *, expected: str | None, kind: Literal["swap", "rollback"]) -> AliasSwap:
        """From where it is expected to a complete collection; nothing happens when it points there already."""
        started = time.monotonic()
        metadata = self._servable(collection)
        current = self.target()
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        swapped = current != collection
        if swapped:
            self._require(current, expected)
            self._remember(collection, previous=current if kind == "swap" else None, at=at)
            self._point_at(collection, expected=expected)
            self._require_answer(collection, previous=current)
            logger.info("Alias %s now points at %s (before: %s)", self.name, collection, current)
        return AliasSwap(
            alias=self.name,
            kind=kind,
            previous_collection=current if swapped else metadata.previous_collection,
            collection=collection,
            model_version=metadata.model_version,
            swapped=swapped,
            reason=f"{kind} from {current or 'nothing'}" if swapped else "it points there already",
            at=at,
            duration_s=time.monotonic() - started,
        )

    def way_back(self, current: str | None, to: str | None) -> str:
        """The complete collection that `to` names, itself or by its model; what was live before when None."""
        ours = collections_of(self.client, self.name, retries=self.retries)
        verified = [row for row in ours if row.state == "verified" and row.collection != current]
        if to is None:
            live = next((row for row in ours if row.collection == current), None)
            to = live.previous_collection if live is not None else None
        for row in verified:
            if to in (row.collection, row.model_version):
                return row.collection
        raise ServingError(
            f"Alias {self.name} points at {current or 'nothing'} and cannot go back to {to or 'anything before it'}.",
            fix=f"Complete collections to choose from: {', '.join(row.collection for row in verified) or 'none'}.",
        )

    def prunable(self, *, keep: int, now: datetime.datetime) -> list[str]:
        """Half-deleted collections, abandoned builds, and all that served but the last `keep`."""
        aliased = set(alias_targets(self.client, retries=self.retries).values())
        ours = collections_of(self.client, self.name, retries=self.retries)
        next_back = {row.previous_collection for row in ours if row.collection in aliased}
        served, prunable = [], []
        for row in ours:
            if row.collection in aliased:
                continue
            if row.state == "deleting":
                prunable.append(row.collection)
            elif row.state == "verified" and row.live_since is not None:
                served.append(row.collection)
            elif now - datetime.datetime.fromisoformat(row.created_at) > ABANDONED_AFTER:
                prunable.append(row.collection)
        served.sort(key=lambda name: name not in next_back)
        return prunable + served[keep:]

    def delete(self, collection: str) -> None:
        """For ever, and marked before: killed in between, an embedded store still lists it, without its points."""
        write_metadata(self.client, collection, {"state": "deleting"}, retries=self.retries)
        self.retries.run(f"deletion of {collection}", lambda: self.client.delete_collection(collection))
        logger.info("Pruned collection %s", collection)

    def _servable(self, collection: str) -> CollectionMetadata:
        names = collection_names(self.client, retries=self.retries)
        if self.name in names:
            raise AliasConflictError(
                f"A collection is named {self.name}, so no alias can be.",
                fix="Choose another alias, or rename the collection: create a copy, then delete the original.",
            )
        metadata = read_metadata(self.client, collection, retries=self.retries) if collection in names else None
        if metadata is None or metadata.alias != self.name:
            ours = (row.collection for row in collections_of(self.client, self.name))
            raise ServingError(
                f"{collection} is not a collection that was built for the alias {self.name}.",
                fix=f"Choose one of: {', '.join(ours) or 'none yet'}.",
            )
        if metadata.state != "verified" or point_count(self.client, collection, retries=self.retries) == 0:
            raise ServingError(
                f"Collection {collection} is {metadata.state}, with {metadata.point_count} points at its last "
                "verification; it is not fit to serve.",
                fix="Build and verify it again.",
            )
        return metadata

    def _require(self, current: str | None, expected: str | None) -> None:
        if current != expected:
            raise AliasConflictError(
                f"Alias {self.name} points at {current or 'nothing'}; this run started when it pointed at "
                f"{expected or 'nothing'}.",
                fix="Somebody else moved it. Compare with what is live now and run again.",
            )

    def _remember(self, collection: str, *, previous: str | None, at: str) -> None:
        """Where a rollback goes to. Written before the move, so that no crash leaves a live collection without it."""
        changes = {"live_since": at} | ({"previous_collection": previous} if previous is not None else {})
        write_metadata(self.client, collection, changes, retries=self.retries)

    def _point_at(self, collection: str, *, expected: str | None) -> None:
        """One atomic call. Each repetition compares again, since a request that timed out may have been carried out."""
        self.retries.run(f"move of the alias {self.name}", lambda: self._update(collection, expected=expected))
        found = self.target()
        if found != collection:
            raise AliasConflictError(
                f"Alias {self.name} was moved to {collection}, and points at {found or 'nothing'} a moment later.",
                fix="Another run on another host moves it too; let only one run at a time, then run again.",
            )
        if is_embedded(self.client):
            persist(self.client, collection)

    def _update(self, collection: str, *, expected: str | None) -> None:
        from qdrant_client import models

        aliases = self.client.get_aliases().aliases
        current = next((row.collection_name for row in aliases if row.alias_name == self.name), None)
        if current == collection:
            return
        self._require(current, expected)
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=self.name)
        )
        self.client.update_collection_aliases([create] if current is None else [self._removal(), create])

    def _require_answer(self, collection: str, *, previous: str | None) -> None:
        """One query through the alias; if it fails, the alias goes back to where it was."""
        try:
            self._ask_once(collection)
        except Exception as error:
            if previous is not None:
                self._point_at(previous, expected=collection)
            else:
                self._remove()
            raise ServingError(
                f"A query through the alias {self.name} failed after the move to {collection}: {error}",
                fix=f"The alias is back at {previous or 'nothing'}. Look at the server's log, then run again.",
            ) from error

    def _ask_once(self, collection: str) -> None:
        """A stored vector, searched for through the alias, must find a point."""
        records, _ = self.retries.run(
            f"a point of {collection}",
            lambda: self.client.scroll(collection, limit=1, with_vectors=[DENSE_VECTOR], with_payload=False),
        )
        vector = vectors_of(records[0])[DENSE_VECTOR]
        response = self.retries.run(
            f"query through the alias {self.name}",
            lambda: self.client.query_points(self.name, query=vector, using=DENSE_VECTOR, limit=1),
        )
        if not response.points:
            raise ServingError(f"{self.name} answers with nothing.")

    def _remove(self) -> None:
        removal = self._removal()
        self.retries.run(f"removal of the alias {self.name}", lambda: self.client.update_collection_aliases([removal]))

    def _removal(self) -> DeleteAliasOperation:
        from qdrant_client import models

        return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.name))
