"""Chunks that somebody else cut: JSON lines (BEIR's corpus.jsonl as it is) and Parquet, row by row.

Columns: `text`, and if there `title`, `source`, `_id`. A bad row is reported with its number; the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from domain_embed_pipeline.corpus.structure import ReadyChunk
from domain_embed_pipeline.errors import UnreadableDocumentError

_BATCH_ROWS = 4_096

Row = tuple[int, ReadyChunk | UnreadableDocumentError]
"""Row number from 1, and the chunk or why there is none."""


def read_jsonl(file: IO[bytes], *, most_row_bytes: int) -> Iterator[Row]:
    """Rows of a JSON-lines file; empty lines are passed over."""
    for number, line in enumerate(file, start=1):
        if len(line) > most_row_bytes:
            yield number, UnreadableDocumentError("too_large", f"row of {len(line)} bytes")
        elif line.strip():
            yield number, _parsed_line(line)


def _parsed_line(line: bytes) -> ReadyChunk | UnreadableDocumentError:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return UnreadableDocumentError("bad_row", f"no JSON: {error}")
    if not isinstance(fields, dict):
        return UnreadableDocumentError("bad_row", f"a {type(fields).__name__}, not an object")
    return ready_chunk(fields)


def read_parquet(file: IO[bytes]) -> Iterator[Row]:
    """Rows of a Parquet file, in batches.

    Raises:
        UnreadableDocumentError: `unreadable` when it is no Parquet, `no_text` without a column `text`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise UnreadableDocumentError("unreadable", f"damaged Parquet: {error}") from error
    names = table.schema_arrow.names
    if "text" not in names:
        raise UnreadableDocumentError("no_text", f"no column `text`; the columns are {names}")
    columns = [name for name in ("text", "title", "source", "_id") if name in names]
    number = 0
    for batch in table.iter_batches(_BATCH_ROWS, columns=columns):
        for fields in batch.to_pylist():
            number += 1
            yield number, ready_chunk(fields)


def ready_chunk(fields: dict[str, Any]) -> ReadyChunk | UnreadableDocumentError:
    """The chunk of one row, or why it is none."""
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        return UnreadableDocumentError("bad_row", f"`text` is {text!r}")
    title, source, external_id = (fields.get(name) for name in ("title", "source", "_id"))
    if not isinstance(title, str | None):
        return UnreadableDocumentError("bad_row", f"`title` is {title!r}")
    return ReadyChunk(
        text=text.strip(),
        title=(title or "").strip(),
        source=str(source) if source is not None else "",
        external_id=str(external_id) if external_id is not None else "",
    )
