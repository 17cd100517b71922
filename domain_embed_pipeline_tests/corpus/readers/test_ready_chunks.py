from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain_embed_pipeline.corpus.readers.ready_chunks import read_jsonl, read_parquet
from domain_embed_pipeline.corpus.structure import ReadyChunk
from domain_embed_pipeline.errors import UnreadableDocumentError


def rows_of(data: bytes, most_row_bytes: int = 1_000) -> list[tuple[int, ReadyChunk | str]]:
    return [
        (number, row.reason if isinstance(row, UnreadableDocumentError) else row)
        for number, row in read_jsonl(io.BytesIO(data), most_row_bytes=most_row_bytes)
    ]


def parquet(**columns: list) -> io.BytesIO:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    buffer.seek(0)
    return buffer


def test_a_beir_row_is_read_as_it_is() -> None:
    row = {"_id": "C1_0", "title": "Night Dragon", "text": "A campaign.", "source": "C1.md", "metadata": {}}
    assert rows_of(json.dumps(row).encode()) == [(1, ReadyChunk("A campaign.", "Night Dragon", "C1.md", "C1_0"))]


def test_only_the_text_is_required_and_a_number_may_be_an_id() -> None:
    assert rows_of(b'{"text": "A."}\n\n{"text": "B.", "_id": 7, "title": null}\n') == [
        (1, ReadyChunk("A.")),
        (3, ReadyChunk("B.", external_id="7")),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"{oops",
        b"[1]",
        b'"text"',
        b"{}",
        b'{"text": " "}',
        b'{"text": 3}',
        b'{"text": "x", "title": 4}',
        b'{"text": "\xe9"}',
        b'{"text": "\\ud800"}',
        b'{"text": "a\\u0000b"}',
        b"[" * 500,
    ],
)
def test_a_bad_row_is_reported_with_its_number_and_the_rest_goes_on(line: bytes) -> None:
    assert rows_of(b'{"text": "A."}\n' + line + b'\n{"text": "B."}\n') == [
        (1, ReadyChunk("A.")),
        (2, "bad_row"),
        (3, ReadyChunk("B.")),
    ]


def test_a_row_over_the_limit_is_set_aside_alone() -> None:
    data = b'{"text": "' + b"x" * 3_000_000 + b'"}\n{"text": "B."}'
    assert rows_of(data, 1_000_000) == [(1, "too_large"), (2, ReadyChunk("B."))]


def test_parquet_rows_are_read_in_batches_with_the_columns_that_there_are() -> None:
    rows = list(read_parquet(parquet(text=[f"Text {number}." for number in range(2_500)] + [None], other=[0] * 2_501)))
    assert rows[2_499] == (2_500, ReadyChunk("Text 2499."))
    assert isinstance(rows[2_500][1], UnreadableDocumentError)
    assert len(rows) == 2_501


def test_parquet_without_a_text_column_names_the_columns_it_has() -> None:
    with pytest.raises(UnreadableDocumentError, match="content"):
        list(read_parquet(parquet(content=["x"])))


def test_a_damaged_parquet_file_is_unreadable() -> None:
    with pytest.raises(UnreadableDocumentError, match="unreadable"):
        list(read_parquet(io.BytesIO(b"PAR1 and no more")))
