"""A smaller copy of a BEIR folder, for a quick look.

What belongs here: which queries, chunks and pairs stay. The figures of a sample are of the sample: fewer chunks are
easier to search, so they are no estimate of those of the whole.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from domain_embed_pipeline.errors import PairsError
from domain_embed_pipeline.pairs.beir import QrelsRow, has_file, qrels_path, read_json_lines, read_qrels

T = TypeVar("T")

CHUNKS_PER_QUERY = 4
_QUESTIONS_PER_CHUNK = 3


def write_sample(folder: str, questions: str | None, *, count: int, seed: int, target: Path) -> tuple[str, str | None]:
    """Write a sample of a BEIR folder and of its recorded questions into `target`.

    At most `count` queries of test and of dev stay, with every chunk that answers them; other chunks are drawn until
    there are four times `count`, and so many pairs, of questions or of train judgments, are kept.

    Returns:
        The folder of the sample, and its file of questions.

    Raises:
        PairsError: If a file is malformed.
    """
    generator = random.Random(seed)
    judged = {split: _relevant(folder, split) for split in ("test", "dev", "train")}
    kept = {split: _of_some_queries(judged[split], count, generator) for split in ("test", "dev")}
    needed = {row.reference for rows in kept.values() for row in rows}
    chunks = list(read_json_lines(f"{folder}/corpus.jsonl", error=PairsError))
    rows = _some_chunks([row for _, row in chunks], needed, count * CHUNKS_PER_QUERY, generator)
    names = {str(row["_id"]) for row in rows}
    trained = [row for row in judged["train"] if row.reference in names]
    kept["train"] = _some(trained, count * CHUNKS_PER_QUERY, generator)
    (target / "qrels").mkdir(parents=True)
    _write_lines(target / "corpus.jsonl", rows)
    _write_lines(
        target / "queries.jsonl", (row for _, row in read_json_lines(f"{folder}/queries.jsonl", error=PairsError))
    )
    for split, found in kept.items():
        if has_file(qrels_path(folder, split)):
            lines = "".join(f"{row.query_id}\t{row.reference}\t1\n" for row in found)
            Path(qrels_path(str(target), split)).write_text(f"query-id\tcorpus-id\tscore\n{lines}", encoding="utf-8")
    if questions is None:
        return str(target), None
    asked = [row for _, row in read_json_lines(questions, error=PairsError) if str(row.get("chunk_id")) in names]
    limit = max(1, count * CHUNKS_PER_QUERY // _QUESTIONS_PER_CHUNK)
    _write_lines(target / "questions.jsonl", _some(asked, limit, generator))
    return str(target), str(target / "questions.jsonl")


def _relevant(folder: str, split: str) -> list[QrelsRow]:
    path = qrels_path(folder, split)
    return [row for row in read_qrels(path, error=PairsError) if row.score > 0] if has_file(path) else []


def _of_some_queries(rows: Sequence[QrelsRow], count: int, generator: random.Random) -> list[QrelsRow]:
    queries = set(_some(sorted({row.query_id for row in rows}), count, generator))
    return [row for row in rows if row.query_id in queries]


def _some_chunks(
    rows: Sequence[dict[str, Any]], needed: set[str], count: int, generator: random.Random
) -> list[dict[str, Any]]:
    """The needed chunks, and others up to `count`, in their old order."""
    others = [str(row["_id"]) for row in rows if str(row["_id"]) not in needed]
    drawn = set(_some(others, max(0, count - len(needed)), generator)) | needed
    return [row for row in rows if str(row["_id"]) in drawn]


def _some(items: Sequence[T], count: int, generator: random.Random) -> list[T]:
    """At most `count`, in their old order."""
    places = sorted(generator.sample(range(len(items)), min(count, len(items))))
    return [items[place] for place in places]


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
