"""What happened to the alias: promotions, overrides, new indexes and rollbacks, appended and never changed."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from domain_embed_pipeline.artifacts import Location

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
    """Events in a file of JSON lines; each is written in one call, so that a kill loses whole lines only.

    A bucket knows no appending: there each event is an object of its own, in a folder beside the file.
    """

    def __init__(self, path: str | Path | Location) -> None:
        self._place = Location(path)
        self._folder = Location(str(path).removesuffix(".jsonl"))

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
        text = json.dumps(dataclasses.asdict(event), ensure_ascii=False)
        if self._place.is_remote:
            (self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.json").write_text(text)
        else:
            _append(self._place.path, text)
        return event

    def events(self, alias: str | None = None) -> list[LineageEvent]:
        """Events of an alias (or of all), oldest first."""
        events = [event for event in map(_event_of, self._lines()) if event is not None]
        return [event for event in events if alias is None or event.alias == alias]

    def _lines(self) -> list[str]:
        try:
            lines = self._place.read_bytes().decode("utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            lines = []
        if self._place.is_remote:
            found = self._folder.read_many(self._folder.files())
            lines += [found[name].decode("utf-8", errors="replace") for name in sorted(found)]
        return lines


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line that a crash cut short is ended first, so that it does not take this one with it.
    line = f"{_line_end(path)}{text}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line_end(path: Path) -> str:
    if not path.is_file() or not path.stat().st_size:
        return ""
    with path.open("rb") as file:
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
