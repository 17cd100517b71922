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
    retries = retries or RetryPolicy()
    with alias_lock(lock_folder, alias):
        return _move(client, (alias, collection, expected_current), "swap", retries)


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
    retries = retries or RetryPolicy()
    with alias_lock(lock_folder, alias):
        current = current_target(client, alias, retries=retries)
        target = _rollback_target(client, alias, (current, to), retries)
        return _move(client, (alias, target, current), "rollback", retries)


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
    retries = retries or RetryPolicy()
    now = now or datetime.datetime.now(datetime.UTC)
    deleted = []
    with alias_lock(lock_folder, alias):
        for name in _prunable(client, alias, (keep, now), retries):
            if name in alias_targets(client, retries=retries).values():
                continue
            # Killed between the two steps, an embedded store lists the collection and has lost its points; the mark
            # keeps it from ever being served.
            write_metadata(client, name, {"state": "deleting"}, retries=retries)
            retries.run(f"deletion of {name}", lambda name=name: client.delete_collection(name))
            deleted.append(name)
            logger.info("Pruned collection %s", name)
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


def _move(
    client: QdrantClient,
    move: tuple[str, str, str | None],
    kind: Literal["swap", "rollback"],
    retries: RetryPolicy,
) -> AliasSwap:
    """The alias, from where it is expected to a new target; the caller holds the lock."""
    alias, collection, expected = move
    started = time.monotonic()
    metadata = _require_servable(client, alias, collection, retries)
    current = current_target(client, alias, retries=retries)
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    swapped = current != collection
    if swapped:
        _require_expected(alias, current, expected)
        _remember(client, collection, (current if kind == "swap" else None, at), retries)
        _point_at(client, alias, (collection, expected), retries)
        _require_answer(client, alias, (collection, current), retries)
        logger.info("Alias %s now points at %s (before: %s)", alias, collection, current)
    return AliasSwap(
        alias=alias,
        kind=kind,
        previous_collection=current if swapped else metadata.previous_collection,
        collection=collection,
        model_version=metadata.model_version,
        swapped=swapped,
        reason=f"{kind} from {current or 'nothing'}" if swapped else "it points there already",
        at=at,
        duration_s=time.monotonic() - started,
    )


def _require_servable(client: QdrantClient, alias: str, collection: str, retries: RetryPolicy) -> CollectionMetadata:
    names = collection_names(client, retries=retries)
    if alias in names:
        raise AliasConflictError(
            f"A collection is named {alias}, so no alias can be.",
            fix="Choose another alias, or rename the collection: create a copy, then delete the original.",
        )
    metadata = read_metadata(client, collection, retries=retries) if collection in names else None
    if metadata is None or metadata.alias != alias:
        raise ServingError(
            f"{collection} is not a collection that was built for the alias {alias}.",
            fix=f"Choose one of: {', '.join(row.collection for row in collections_of(client, alias)) or 'none yet'}.",
        )
    if metadata.state != "verified" or point_count(client, collection, retries=retries) == 0:
        raise ServingError(
            f"Collection {collection} is {metadata.state}, with {metadata.point_count} points at its last "
            "verification; it is not fit to serve.",
            fix="Build and verify it again.",
        )
    return metadata


def _require_expected(alias: str, current: str | None, expected: str | None) -> None:
    if current != expected:
        raise AliasConflictError(
            f"Alias {alias} points at {current or 'nothing'}; this run started when it pointed at "
            f"{expected or 'nothing'}.",
            fix="Somebody else moved it. Compare with what is live now and run again.",
        )


def _remember(client: QdrantClient, collection: str, past: tuple[str | None, str], retries: RetryPolicy) -> None:
    """Where a rollback goes to. Written before the move, so that no crash leaves a live collection without it."""
    previous, at = past
    changes = {"live_since": at} | ({"previous_collection": previous} if previous is not None else {})
    write_metadata(client, collection, changes, retries=retries)


def _point_at(client: QdrantClient, alias: str, target: tuple[str, str | None], retries: RetryPolicy) -> None:
    """One atomic call. Each repetition compares again, since a request that timed out may have been carried out."""
    from qdrant_client import models

    collection, expected = target
    create = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))
    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))

    def update() -> None:
        """Compare and move; run again after a failure, it finds its own move done."""
        current = _target_now(client, alias)
        if current != collection:
            _require_expected(alias, current, expected)
            client.update_collection_aliases([create] if current is None else [delete, create])

    retries.run(f"move of the alias {alias}", update)
    found = current_target(client, alias, retries=retries)
    if found != collection:
        raise AliasConflictError(
            f"Alias {alias} was moved to {collection}, and points at {found or 'nothing'} a moment later.",
            fix="Another run on another host moves it too; let only one run at a time, then run again.",
        )
    if is_embedded(client):
        persist(client, collection)


def _target_now(client: QdrantClient, alias: str) -> str | None:
    return next((row.collection_name for row in client.get_aliases().aliases if row.alias_name == alias), None)


def _require_answer(client: QdrantClient, alias: str, places: tuple[str, str | None], retries: RetryPolicy) -> None:
    """One query through the alias; if it fails, the alias goes back to where it was."""
    collection, previous = places
    try:
        _ask_once(client, alias, collection, retries)
    except Exception as error:
        if previous is not None:
            _point_at(client, alias, (previous, collection), retries)
        else:
            _remove(client, alias, retries)
        raise ServingError(
            f"A query through the alias {alias} failed after the move to {collection}: {error}",
            fix=f"The alias is back at {previous or 'nothing'}. Look at the server's log, then run again.",
        ) from error


def _remove(client: QdrantClient, alias: str, retries: RetryPolicy) -> None:
    from qdrant_client import models

    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    retries.run(f"removal of the alias {alias}", lambda: client.update_collection_aliases([delete]))


def _ask_once(client: QdrantClient, alias: str, collection: str, retries: RetryPolicy) -> None:
    """A stored vector, searched for through the alias, must find a point."""
    records, _ = retries.run(
        f"a point of {collection}",
        lambda: client.scroll(collection, limit=1, with_vectors=[DENSE_VECTOR], with_payload=False),
    )
    vector = vectors_of(records[0])[DENSE_VECTOR]
    response = retries.run(
        f"query through the alias {alias}",
        lambda: client.query_points(alias, query=vector, using=DENSE_VECTOR, limit=1),
    )
    if not response.points:
        raise ServingError(f"{alias} answers with nothing.")


def _rollback_target(
    client: QdrantClient, alias: str, wish: tuple[str | None, str | None], retries: RetryPolicy
) -> str:
    current, to = wish
    ours = collections_of(client, alias, retries=retries)
    verified = [row for row in ours if row.state == "verified" and row.collection != current]
    if to is None:
        live = next((row for row in ours if row.collection == current), None)
        to = live.previous_collection if live is not None else None
    for row in verified:
        if to in (row.collection, row.model_version):
            return row.collection
    raise ServingError(
        f"Alias {alias} points at {current or 'nothing'} and cannot go back to {to or 'anything before it'}.",
        fix=f"Complete collections to choose from: {', '.join(row.collection for row in verified) or 'none'}.",
    )


def _prunable(
    client: QdrantClient, alias: str, limits: tuple[int, datetime.datetime], retries: RetryPolicy
) -> list[str]:
    """Half-deleted collections, abandoned builds, and all that served but the last `keep`."""
    keep, now = limits
    aliased = set(alias_targets(client, retries=retries).values())
    ours = collections_of(client, alias, retries=retries)
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
