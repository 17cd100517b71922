"""What the live collection was last brought up to, in a file that a sensor tick reads without opening the store."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain_embed_pipeline.artifacts import Location


@dataclass(frozen=True, slots=True)
class IndexedState:
    """The documents that a collection holds."""

    files_digest: str
    """`listing.content_digest` from before the documents were read, so that a later change is always seen."""
    corpus_version: str
    collection: str
    at: str = ""


class IndexedStore:
    """One small JSON file, replaced as a whole."""

    def __init__(self, path: str | Path | Location) -> None:
        self._place = Location(path)

    def load(self) -> IndexedState | None:
        """What was saved last; None when nothing was, or when it is of another version of the package."""
        try:
            return IndexedState(**json.loads(self._place.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, state: IndexedState) -> None:
        """Replace what was saved."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._place.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(state, at=now))))
