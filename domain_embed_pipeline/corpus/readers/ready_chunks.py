"""Chunks that somebody else cut: JSON lines (BEIR's corpus.jsonl as it is) and Parquet, row by row.

Columns: `text`, and if there `title`, `source`, `_id`. A bad row is reported with its number; the others go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from domain_embed_pipeline.corpus.structure import ReadyChunk
from domain_embed_pipeline.errors import UnreadableDocumentError

COLUMNS = ("text", "title", "source", "_id")
_BATCH_ROWS = 1_024
_BLOCK_BYTES = 1 << 20
# JSON can spell both; no tokenizer, table or database takes the first, and PostgreSQL refuses the second.
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")

Row = tuple[int, ReadyChunk | UnreadableDocumentError]
"""Row number from 1, and the chunk or why there is none."""


def read_jsonl(file: IO[bytes], *, most_row_bytes: int) -> Iterator[Row]:
    """Rows of a JSON-lines file; empty lines are passed over, and a row over the limit is not kept in memory."""
    for number, line in enumerate(_lines(file, most_row_bytes), start=1):
        if line is None:
            yield number, UnreadableDocumentError("too_large", f"a row over the limit of {most_row_bytes} bytes")
        elif line.strip():
            yield number, _parsed_line(line)


def read_parquet(file: IO[bytes]) -> Iterator[Row]:
    """Rows of a Parquet file, in batches.

    Raises:
        UnreadableDocumentError: `unreadable` when it is no Parquet or has no column `text`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        names = table.schema_arrow.names
        if "text" not in names:
            raise UnreadableDocumentError("unreadable", f"no column `text`; the columns are {names}")
        number = 0
        for batch in table.iter_batches(_BATCH_ROWS, columns=[name for name in COLUMNS if name in names]):
            for fields in batch.to_pylist():
                number += 1
                yield number, ready_chunk(fields)
    except pa.ArrowException as error:
        raise UnreadableDocumentError("unreadable", f"damaged Parquet: {error}") from error


def ready_chunk(fields: Mapping[str, Any]) -> ReadyChunk | UnreadableDocumentError:
    """The chunk of one row, or why it is none."""
    text, title = fields.get("text"), fields.get("title")
    if not isinstance(text, str) or not text.strip():
        return UnreadableDocumentError("bad_row", f"`text` is {_shown(text)}")
    if not isinstance(title, str | None):
        return UnreadableDocumentError("bad_row", f"`title` is {_shown(title)}")
    source, external_id = (str(fields[name]) if fields.get(name) is not None else "" for name in ("source", "_id"))
    chunk = ReadyChunk(text.strip(), (title or "").strip(), source, external_id)
    if any(_UNSTORABLE.search(value) for value in (chunk.text, chunk.title, source, external_id)):
        return UnreadableDocumentError("bad_row", "holds a NUL character or half a surrogate pair")
    return chunk


def _parsed_line(line: bytes) -> ReadyChunk | UnreadableDocumentError:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return UnreadableDocumentError("bad_row", f"no JSON: {error}")
    if not isinstance(fields, dict):
        return UnreadableDocumentError("bad_row", f"a {type(fields).__name__}, not an object")
    return ready_chunk(fields)


def _lines(file: IO[bytes], most_bytes: int) -> Iterator[bytes | None]:
    """Lines of a file; None for one that is longer than the limit."""
    tail, skipping = b"", False
    while block := file.read(_BLOCK_BYTES):
        *lines, tail = (tail + block).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > most_bytes else line
            skipping = False
        if len(tail) > most_bytes:
            tail, skipping = b"", True
    if tail or skipping:
        yield None if skipping else tail


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
