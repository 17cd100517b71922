"""Whether a drop is complete and has to be indexed: one look at the files, compared with the look before.

What belongs here: what a tick sees, remembers and asks for. What does not: Dagster (`defs.sensors`), indexing.

A drop is complete when nothing has moved for a while, or when a marker file says so. What was seen lies in a table
under the artifacts; the cursor holds digests and counts only. A tick that dies at any point repeats itself: the request
follows from the files, the cursor and what is indexed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.corpus.sources import SourceFile
from domain_embed_pipeline.drops.indexed import IndexedState, IndexedStore
from domain_embed_pipeline.drops.listing import SeenFile, content_digest, is_marker, list_corpus, read_contents
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.tables import RecordFormatError, load_record, save_record
from domain_embed_pipeline.workspace import Workspace

MOST_ATTEMPTS = 3
"""Runs that are asked for one and the same change; a fault that outlasts them wants a person."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """When a drop counts as complete."""

    quiet_s: float = 10.0
    """Seconds without a change of any file, seen on two ticks; shorter than a pause of the slowest writer indexes half
    a document, which the next run mends."""
    max_wait_s: float = 900.0
    """Files that keep changing for longer than this are indexed as they are; without a ceiling a log file in the
    folder would keep everything else out for ever."""
    marker: str | None = None
    """Name of a file that is written when a drop is complete: in the folder of the new files or above it, and no older
    than they are. It replaces the waiting."""
    budget_s: float = 20.0
    """Seconds of a tick that go into reading contents; the rest is read on the next tick. Dagster ends a tick after
    60 s."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the ticks so far have seen."""

    files: tuple[SeenFile, ...]
    changed_at: float
    """When a tick last saw something move (seconds since 1970)."""
    waiting_since: float | None
    """When a tick saw the first of the changes that are not settled; None when all are."""
    settled_digest: str
    """Content digest at the last complete look; empty before the first."""


class WatchStore:
    """The state as a table in a folder of its own."""

    def __init__(self, folder: str | Path | Location) -> None:
        self._folder = Location(folder)

    def load(self) -> WatchState | None:
        """The state; None before the first tick, or when another version of the package wrote it."""
        try:
            return load_record(WatchState, self._folder)
        except (FileNotFoundError, RecordFormatError):
            return None

    def save(self, state: WatchState) -> None:
        """Replace the state."""
        save_record(state, self._folder)

    def known_files(self) -> tuple[SeenFile, ...]:
        """Files whose contents need not be read again while their revision stays."""
        state = self.load()
        return state.files if state is not None else ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the files."""

    cursor: str | None = None
    """Of the last request."""
    indexed: IndexedState | None = None
    """What the live collection holds."""
    live_collection: str | None = None
    """Where the alias was moved last; None when no move is on record. After a rollback it is another than the indexed
    one, which then lacks what came meanwhile."""
    has_failed: Callable[[str], bool] = lambda run_key: False
    """Whether the run of a request failed; it is asked for again, `MOST_ATTEMPTS` times in all."""


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Why the live collection has to be brought up to date."""

    run_key: str
    cursor: str
    summary: str
    files_digest: str


@dataclass(frozen=True, slots=True)
class Look:
    """What one tick came to."""

    reason: str
    request: DropRequest | None = None


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Of the last request."""

    digest: str = ""
    key: str = ""
    files: int = 0
    collection: str = ""
    attempt: int = 1


def look_at(
    location: str, *, store: WatchStore, known: Known, now: float, settings: WatchSettings | None = None
) -> Look:
    """Compare the files with the look before, and ask for a run when a complete drop is not in the index.

    Args:
        location: As `load_corpus` takes it.
        store: What the look before saw; replaced when something moved.
        known: Cursor, what is indexed, what is live.
        now: Seconds since 1970.
        settings: When a drop is complete.

    Raises:
        CorpusSourceError: If a location does not exist or does not answer.
    """
    settings = settings or WatchSettings()
    listing = list_corpus(location, marker=settings.marker)
    state, moved = _remember(listing, store, now)
    if state.waiting_since is not None:
        if (reason := _why_wait(listing, state, moved, now, settings)) is not None:
            return Look(reason)
        state = _settle(listing, state, store, settings)
        if state.waiting_since is not None:
            unread = sum(not file.content for file in state.files)
            return Look(f"{len(state.files) - unread} of {len(state.files)} files read; the next tick goes on.")
    return _request(state, known, settings.marker)


def look_at_corpus(
    workspace: Workspace, *, cursor: str | None, now: float, has_failed: Callable[[str], bool] = lambda run_key: False
) -> Look:
    """`look_at` the corpus of a deployment."""
    settings = workspace.settings
    moves = workspace.lineage.events(settings.serving_alias)
    return look_at(
        settings.corpus_path,
        store=watch_store(workspace),
        known=Known(cursor, indexed_store(workspace).load(), moves[-1].collection if moves else None, has_failed),
        now=now,
        settings=WatchSettings(
            quiet_s=settings.drop_quiet_s, max_wait_s=settings.drop_max_wait_s, marker=settings.drop_marker
        ),
    )


def indexed_store(workspace: Workspace) -> IndexedStore:
    """Where it is noted what the live collection holds."""
    return IndexedStore(workspace.drops / "indexed.json")


def watch_store(workspace: Workspace) -> WatchStore:
    """Where the listing of the last tick lies."""
    return WatchStore(workspace.drops / "listing")


def _remember(listing: Mapping[str, SourceFile], store: WatchStore, now: float) -> tuple[WatchState, int]:
    """The state after this listing, and how many files moved since the last."""
    before = store.load()
    if before is None:
        files = tuple(SeenFile(name, file.revision, "") for name, file in listing.items())
        state = WatchState(files, changed_at=now, waiting_since=now, settled_digest="")
        store.save(state)
        return state, len(files)
    known = {file.document_id: file for file in before.files}
    changed = [name for name, file in listing.items() if name not in known or known[name].revision != file.revision]
    moved = len(changed) + len(known.keys() - listing.keys())
    if not moved:
        return before, 0
    fresh = set(changed)
    files = tuple(
        SeenFile(name, file.revision, "" if name in fresh else known[name].content) for name, file in listing.items()
    )
    waiting = before.waiting_since if before.waiting_since is not None else now
    state = replace(before, files=files, changed_at=now, waiting_since=waiting)
    store.save(state)
    return state, moved


def _why_wait(
    listing: Mapping[str, SourceFile], state: WatchState, moved: int, now: float, settings: WatchSettings
) -> str | None:
    """Why the drop is not complete; None when it is, or when it has been waited for long enough."""
    waited = now - (state.waiting_since if state.waiting_since is not None else now)
    if waited >= settings.max_wait_s:
        return None
    # Before the first complete look nobody knows which files are new, and so which need a marker.
    if settings.marker is not None and state.settled_digest:
        unmarked = _unmarked(listing, state.files, settings.marker)
        if not unmarked:
            return None
        return (
            f"{len(unmarked)} files wait for a {settings.marker} that is no older than they are, first {unmarked[0]}."
        )
    if moved:
        return f"{moved} files have moved; waiting until nothing has for {settings.quiet_s:g} s."
    quiet = now - state.changed_at
    if quiet < settings.quiet_s:
        return f"Quiet for {quiet:.0f} s; waiting for {settings.quiet_s:g} s."
    return None


def _unmarked(listing: Mapping[str, SourceFile], files: Iterable[SeenFile], marker: str) -> list[str]:
    """Changed files without a marker that covers them."""
    times = {
        name.rpartition("/")[0]: file.modified for name, file in listing.items() if is_marker(file.document_id, marker)
    }
    changed = [file.document_id for file in files if not file.content and not is_marker(file.document_id, marker)]
    return [name for name in changed if not _is_covered(name, listing[name].modified, times)]


def _is_covered(document_id: str, modified: float, marker_times: Mapping[str, float]) -> bool:
    folder = document_id
    while folder:
        folder = folder.rpartition("/")[0]
        if marker_times.get(folder, -1.0) >= modified:
            return True
    return False


def _settle(
    listing: Mapping[str, SourceFile], state: WatchState, store: WatchStore, settings: WatchSettings
) -> WatchState:
    """Read what changed; the state is settled when everything has been."""
    files = read_contents(listing, state.files, budget_s=settings.budget_s)
    if all(file.content for file in files):
        digest = content_digest(files, marker=settings.marker)
        state = replace(state, files=files, waiting_since=None, settled_digest=digest)
    else:
        state = replace(state, files=files)
    store.save(state)
    return state


def _request(state: WatchState, known: Known, marker: str | None) -> Look:
    last = _Cursor(**json.loads(known.cursor)) if known.cursor else _Cursor()
    indexed = known.indexed
    digest, place = state.settled_digest, known.live_collection or ""
    count = sum(not is_marker(file.document_id, marker) for file in state.files)
    if indexed is not None and indexed.files_digest == digest and place in ("", indexed.collection):
        return Look(f"Nothing has changed: {indexed.collection} holds these {count} files.")
    is_repeated = (last.digest, last.collection) == (digest, place)
    if is_repeated and not known.has_failed(last.key):
        return Look(f"A run was requested for these {count} files ({last.key}).")
    if is_repeated and last.attempt >= MOST_ATTEMPTS:
        return Look(
            f"{last.attempt} runs for these {count} files failed ({last.key}); mend the cause and run it again."
        )
    if not count:
        return Look("There is no file that could be a document; an index is never emptied.")
    # The chain of keys makes a return to an earlier state a new request: Dagster remembers a key for ever.
    before = last.key or (indexed.files_digest if indexed is not None else "")
    key = f"drop:{digest_of(before, digest, place)[:24]}"
    attempt = last.attempt + 1 if is_repeated else 1
    summary = f"{count} files, {last.files or 'unknown'} at the last request, attempt {attempt}"
    now = json.dumps(asdict(_Cursor(digest, key, count, place, attempt)))
    return Look(summary, DropRequest(key, now, summary, digest))
