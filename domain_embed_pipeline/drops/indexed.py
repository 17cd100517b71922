"""What the live collection was last brought up to, in a file that a sensor tick reads without opening the store."""

from __future__ import annotations

import dataclasses
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


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

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> IndexedState | None:
        """What was saved last; None when nothing was, or when it is of another version of the package."""
        try:
            return IndexedState(**json.loads(self._path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, state: IndexedState) -> None:
        """Replace what was saved."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        staged = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        staged.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(state, at=now))), encoding="utf-8")
        staged.replace(self._path)
