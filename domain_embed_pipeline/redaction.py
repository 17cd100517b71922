"""Taking rows out of stored tables by what is in them, whatever table it is.

What belongs here: the rule, and rewriting files so that a kill leaves the old file or the new one. What does not:
knowing what must go (`forgetting`).

The rule: a row goes when a cell *is* one of the strings; a list loses them, and a list that they were all of takes its
row along. So chunk ids, texts, questions and document names all work, in tables that this file has never heard of.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from domain_embed_pipeline.artifacts import Location

Row = Mapping[str, Any]


def redacted_row(row: Row, strings: Collection[str]) -> dict[str, Any] | None:
    """The row without the strings; None when it goes."""
    kept = dict(row)
    for name, value in row.items():
        if isinstance(value, str) and value in strings:
            return None
        if isinstance(value, (list, tuple)) and any(isinstance(item, str) and item in strings for item in value):
            rest = [item for item in value if item not in strings]
            if not rest:
                return None
            kept[name] = rest
    return kept


def redact_parquet(path: Path | Location, strings: Collection[str]) -> int:
    """Redact a Parquet file; returns how many rows went."""
    table = _table(path)
    rows = table.to_pylist()
    kept = [row for row in (redacted_row(row, strings) for row in rows) if row is not None]
    if kept != rows:
        clean = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(kept, schema=table.schema), clean)
        Location(path).write_bytes(clean.getvalue())
    return len(rows) - len(kept)


def redact_json(path: Path | Location, strings: Collection[str]) -> int:
    """Redact a JSON document at any depth; returns how many rows (objects in lists) went."""
    document = json.loads(Location(path).read_text())
    clean, gone = _redacted(document, strings)
    if clean != document:
        Location(path).write_text(json.dumps(clean, ensure_ascii=False, indent=1))
    return gone


def _redacted(value: Any, strings: Collection[str]) -> tuple[Any, int]:
    if isinstance(value, dict):
        parts = {name: _redacted(item, strings) for name, item in value.items()}
        return {name: part for name, (part, _) in parts.items()}, sum(gone for _, gone in parts.values())
    if not isinstance(value, list):
        return value, 0
    kept: list[Any] = []
    count = 0
    for item in value:
        row = redacted_row(item, strings) if isinstance(item, dict) else item
        if row is None or (isinstance(row, str) and row in strings):
            count += 1
            continue
        part, gone = _redacted(row, strings)
        kept.append(part)
        count += gone
    return kept, count


def rows_with(path: Path | Location, column: str, values: Collection[str]) -> Sequence[Row]:
    """Rows of a Parquet file whose column holds one of the values; none when it has no such column."""
    table = _table(path)
    if column not in table.column_names:
        return ()
    return [row for row in table.to_pylist() if row[column] in values]


def _table(path: Path | Location) -> pa.Table:
    with Location(path).open_to_read() as file:
        return pq.read_table(file)
