"""The BEIR layout of queries and relevance judgments: `queries.jsonl` and `qrels/<split>.tsv`.

What belongs here: reading, with the line at fault in every error. What does not: what ids in it mean (`references`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec

from domain_embed_pipeline.errors import PairsError
from domain_embed_pipeline.ids import normalise_text

QUERIES_FILE = "queries.jsonl"


@dataclass(frozen=True, slots=True)
class QrelsRow:
    """One judgment as it stands in the file."""

    line: int
    query_id: str
    reference: str
    score: float


def qrels_path(folder: str, split: str) -> str:
    """Path of the judgments of one split."""
    return f"{folder.rstrip('/')}/qrels/{split}.tsv"


def has_file(path: str) -> bool:
    """Whether the file (path or fsspec URL) exists."""
    filesystem, local = fsspec.core.url_to_fs(path)
    return bool(filesystem.isfile(local))


def read_queries(folder: str, *, error: type[PairsError]) -> dict[str, str]:
    """`query id -> text`, normalised, of a BEIR folder. Queries without text are there, with empty text.

    Raises:
        PairsError: Of the given class, if the file is missing or a line is no query.
    """
    path = f"{folder.rstrip('/')}/{QUERIES_FILE}"
    queries: dict[str, str] = {}
    for line, row in read_json_lines(path, error=error):
        query_id, text = row.get("_id"), row.get("text")
        if not isinstance(query_id, str | int) or not isinstance(text, str):
            raise error(f"{path}, line {line}: {str(row)[:100]} is no query.", fix='Give it "_id" and "text".')
        if str(query_id) in queries:
            raise error(f"{path}, line {line}: the id {query_id!r} stands twice.", fix="Give every query its own id.")
        queries[str(query_id)] = normalise_text(text)
    return queries


def read_json_lines(path: str, *, error: type[PairsError]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of each line that is not blank.

    Raises:
        PairsError: Of the given class, if the file is missing or a line is no JSON object.
    """
    for line, text in enumerate(_read_text(path, error).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as problem:
            raise error(f"{path}, line {line} is not JSON: {problem}.", fix="Write one JSON object a line.") from None
        if not isinstance(row, dict):
            raise error(f"{path}, line {line} is {type(row).__name__}.", fix="Write one JSON object a line.")
        yield line, row


def read_qrels(path: str, *, error: type[PairsError]) -> list[QrelsRow]:
    """Judgments of one file: `query-id`, `corpus-id`, `score`, tab-separated, with or without a header.

    TREC's four columns (`query-id`, `0`, `corpus-id`, `score`) are read as well.

    Raises:
        PairsError: Of the given class, if the file is missing or a line is no judgment.
    """
    rows = []
    for line, cells in enumerate(csv.reader(_read_text(path, error).splitlines(), delimiter="\t", quoting=3), start=1):
        if not any(cell.strip() for cell in cells):
            continue
        judgment = _judgment(line, [cell.strip() for cell in cells])
        if judgment is not None:
            rows.append(judgment)
        elif line > 1:
            raise error(
                f"{path}, line {line}: {cells} is no judgment.",
                fix="Separate query id, corpus id and a numeric score by tabs.",
            )
    return rows


def _judgment(line: int, cells: list[str]) -> QrelsRow | None:
    if len(cells) == 4:
        cells = [cells[0], *cells[2:]]
    if len(cells) != 3:
        return None
    try:
        return QrelsRow(line, cells[0], cells[1], float(cells[2]))
    except ValueError:
        return None


def _read_text(path: str, error: type[PairsError]) -> str:
    try:
        with fsspec.open(path, "r", encoding="utf-8-sig") as file:
            return file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except FileNotFoundError:
        raise error(f"{path} does not exist.", fix="Point to a BEIR folder with queries.jsonl and qrels/.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8: {problem}.", fix="Save the file as UTF-8.") from None
