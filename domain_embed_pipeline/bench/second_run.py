"""`domain-embed bench --second-run`: what a run costs when nothing changed, and when 1 % of the chunks did.

What belongs here: what is changed between runs. What does not: the rooms (`rooms`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.bench.rooms import ROOMS, RoomsRun, rooms_job, run_new_documents, run_rooms
from domain_embed_pipeline.bench.tutorial import read_corpus

EDITED_SHARE = 0.01
_FILES = ("queries.jsonl", "qrels")


@dataclass(frozen=True, slots=True)
class SecondRun:
    """The same rooms three times over one deployment, and new documents into what is live."""

    first: RoomsRun
    unchanged: RoomsRun
    edited: RoomsRun
    """All rooms, up to a new collection."""
    into_live: RoomsRun
    """As many other chunks edited, and only the live collection brought up to them."""
    edited_count: int

    def lines(self) -> list[str]:
        """What is printed."""
        edited = f"{self.edited_count} edited"
        runs = {
            "first": self.first,
            "unchanged": self.unchanged,
            f"{edited}, all rooms": self.edited,
            f"{edited}, into the live index": self.into_live,
        }
        lines = []
        for name, run in runs.items():
            rooms = ", ".join(f"{room} {run.seconds.get(room, 0.0):.1f}" for room in ROOMS)
            share = run.total_seconds / self.first.total_seconds
            lines.append(
                f"{name}: {run.total_seconds:.1f} s ({share:.1%} of the first), {run.encoded} encoded, "
                f"{run.uploaded} uploaded ({rooms})"
            )
        return lines


def second_run(folder: Path, questions: Path | None, *, base_model: str, artifacts: Path) -> SecondRun:
    """Run every room, again, and again after editing one chunk in a hundred; then edit others and index only those.

    Args:
        folder: BEIR layout; it is copied, not changed.
        questions: Recorded questions, or None.
        base_model: Encodes everything; nothing is trained.
        artifacts: An empty folder.
    """
    copy = artifacts / "data"
    copy.mkdir(parents=True)
    for name in _FILES:
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy / name)
    shutil.copyfile(folder / "corpus.jsonl", copy / "corpus.jsonl")
    job = rooms_job(copy, questions, base_model, artifacts / "deployment")
    first, unchanged = run_rooms(job), run_rooms(job)
    edited_count = edit_some(copy / "corpus.jsonl", folder)
    edited = run_rooms(job)
    edit_some(copy / "corpus.jsonl", copy, first=1)
    return SecondRun(first, unchanged, edited, run_new_documents(job), edited_count)


def edit_some(target: Path, folder: Path, *, first: int = 0) -> int:
    """Write the corpus with a sentence added to every hundredth chunk from `first` on; returns how many those are."""
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8-sig").splitlines() if line]
    assert len(rows) == len(read_corpus(folder))
    step = round(1 / EDITED_SHARE)
    edited = [row | {"text": f"{row['text']} Reviewed."} if n % step == first else row for n, row in enumerate(rows)]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in edited)
    target.write_text("".join(lines), encoding="utf-8")
    return len(range(first, len(rows), step))
