"""The files of a corpus as a tick sees them, and the digest of all their contents.

What belongs here: names, revisions and content digests. What does not: what is in a document (`corpus`), whether a
change is complete (`watching`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from domain_embed_pipeline.corpus.existing_index import SCHEME
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.sources import DOCUMENT_SUFFIXES, READY_SUFFIXES, SourceFile, list_files
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline.ids import digest_of

_SUFFIXES = DOCUMENT_SUFFIXES | READY_SUFFIXES
_HASHED_BYTES = 1_000_000_000
"""The contents of a larger file are taken to be what its size and times say; reading them would outlast a tick."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as it was seen."""

    document_id: str
    """Path within its location; a later one of several locations has its number before it."""
    revision: str
    """Another one whenever the file may have changed."""
    content: str
    """Digest of its bytes; empty while they have not been read since they changed."""


def list_corpus(location: str, *, marker: str | None = None) -> dict[str, SourceFile]:
    """Files that may become documents, by document id; with those that are named like the marker.

    A collection (`qdrant://`) has no files and is left out.

    Raises:
        CorpusSourceError: If a location does not exist or cannot be listed.
    """
    found = {}
    settings = CorpusSettings()
    for number, part in enumerate(filter(None, (part.strip() for part in location.split(",")))):
        if part.startswith(SCHEME):
            continue
        for file in list_files(part, settings=settings):
            if file.suffix in _SUFFIXES or is_marker(file.document_id, marker):
                found[f"{number}:{file.document_id}" if number else file.document_id] = file
    return found


def has_collections(location: str) -> bool:
    """Whether chunks of an existing collection belong to the corpus, whose changes no listing shows."""
    return SCHEME in location


def is_marker(document_id: str, marker: str | None) -> bool:
    """Whether a file is the sign that a drop is complete."""
    return marker is not None and document_id.rpartition("/")[2] == marker


def read_contents(
    listing: Mapping[str, SourceFile],
    known: Iterable[SeenFile],
    *,
    budget_s: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> tuple[SeenFile, ...]:
    """The listing with content digests; a file is read only when its revision is not a known one.

    Args:
        listing: From `list_corpus`.
        known: What was seen before.
        budget_s: After so many seconds the rest stays unread, with an empty digest.
        clock: Tells the time in seconds.
    """
    contents = {(file.document_id, file.revision): file.content for file in known}
    deadline = clock() + budget_s
    seen = []
    for document_id, file in listing.items():
        content = contents.get((document_id, file.revision), "")
        if not content and clock() < deadline:
            content = _content_of(file)
        seen.append(SeenFile(document_id, file.revision, content))
    return tuple(seen)


def content_digest(files: Iterable[SeenFile], *, marker: str | None = None) -> str:
    """One digest over names and contents, whatever the order of the files; a marker is not part of the corpus."""
    rows = (f"{file.document_id}\0{file.content}" for file in files if not is_marker(file.document_id, marker))
    return digest_of("drop", *sorted(rows))[:24]


def _content_of(file: SourceFile) -> str:
    if file.problem is not None:
        return f"unreadable:{file.problem.reason}"
    if file.store_digest:
        return file.store_digest
    if file.byte_count > _HASHED_BYTES:
        return f"revision:{file.revision}"
    hasher = hashlib.sha256()
    try:
        with file.opened() as opened:
            while block := opened.read(_BLOCK):
                hasher.update(block)
    except UnreadableDocumentError as error:
        return f"unreadable:{error.reason}"
    return hasher.hexdigest()
