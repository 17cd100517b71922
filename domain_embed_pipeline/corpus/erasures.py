"""Documents that must never come back, whatever lies in the corpus folder.

What belongs here: the list, and which documents it means. What does not: removing what was made of them (`forgetting`).

A document is kept out by its name, and by its content under any other name. The list holds a digest, never a text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Erasure:
    """One document that was erased."""

    document_id: str
    document_digest: str | None
    """`Document.document_digest` at that time; None when the document was not in the corpus any more."""
    reason: str
    at: str

    def means(self, document_id: str, document_digest: str) -> bool:
        """Whether a document is the erased one, or the same content under another name."""
        return self.document_id == document_id or self.document_digest == document_digest


class ErasureList:
    """Erasures as JSON lines; rewritten as a whole, so that a kill leaves the old list or the new one."""

    def __init__(self, path: str | Path | Location) -> None:
        self._place = Location(path)

    def entries(self) -> tuple[Erasure, ...]:
        """All erasures, oldest first.

        Raises:
            CorpusError: If the list cannot be read. Going on without it would bring erased documents back.
        """
        try:
            text = self._place.read_text()
        except FileNotFoundError:
            return ()
        try:
            return tuple(Erasure(**json.loads(line)) for line in text.split("\n") if line.strip())
        except (ValueError, TypeError) as error:
            raise CorpusError(
                f"The list of erased documents {self._place} cannot be read: {error}",
                fix="Mend the file (one JSON object a line); nothing is read while it is unclear what must stay away.",
            ) from error

    def add(self, document_id: str, document_digest: str | None, reason: str) -> Erasure:
        """Put a document on the list; one that is there already stays as it is, its digest is completed."""
        for entry in self.entries():
            if entry.document_id == document_id and document_digest in (None, entry.document_digest):
                return entry
        entry = Erasure(document_id, document_digest, reason, datetime.now(UTC).isoformat(timespec="seconds"))
        self._write((*self.entries(), entry))
        return entry

    def lift(self, document_id: str) -> bool:
        """Take a document off the list, so that the next run may read it again; False when it was not there."""
        entries = self.entries()
        kept = [entry for entry in entries if entry.document_id != document_id]
        if len(kept) == len(entries):
            return False
        self._write(kept)
        return True

    def _write(self, entries: Sequence[Erasure]) -> None:
        lines = (json.dumps(dataclasses.asdict(entry), ensure_ascii=False) for entry in entries)
        self._place.write_text("".join(f"{line}\n" for line in lines))
