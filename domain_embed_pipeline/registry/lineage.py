"""What happened to the alias: promotions, overrides, new indexes and rollbacks, appended and never changed."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

LineageKind = Literal["promotion", "override", "reindex", "rollback"]
"""`reindex`: the model stayed, its index was built anew."""


@dataclass(frozen=True, slots=True)
class LineageEvent:
    """One move of the alias."""

    kind: LineageKind
    alias: str
    model_version: str
    collection: str
    previous_collection: str | None
    reason: str
    at: str


class LineageLog:
    """Events in a file of JSON lines; each is written in one call, so that a kill loses whole lines only."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def record(
        self,
        kind: LineageKind,
        *,
        alias: str,
        model_version: str,
        collection: str,
        previous_collection: str | None,
        reason: str,
    ) -> LineageEvent:
        """Append an event."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        event = LineageEvent(kind, alias, model_version, collection, previous_collection, reason, now)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A line that a crash cut short is ended first, so that it does not take this one with it.
        line = f"{self._line_end()}{json.dumps(dataclasses.asdict(event), ensure_ascii=False)}\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return event

    def events(self, alias: str | None = None) -> list[LineageEvent]:
        """Events of an alias (or of all), oldest first."""
        if not self._path.is_file():
            return []
        lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        events = [event for event in map(_event_of, lines) if event is not None]
        return [event for event in events if alias is None or event.alias == alias]

    def _line_end(self) -> str:
        if not self._path.is_file() or not self._path.stat().st_size:
            return ""
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return "" if file.read(1) == b"\n" else "\n"


def _event_of(line: str) -> LineageEvent | None:
    if not line.strip():
        return None
    try:
        return LineageEvent(**json.loads(line))
    except (ValueError, TypeError):
        logger.warning("A line of the lineage log was cut short or is of another version: %.200s", line)
        return None
