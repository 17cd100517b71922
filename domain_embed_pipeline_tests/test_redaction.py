from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from domain_embed_pipeline.redaction import redact_json, redact_parquet, redacted_row

GONE = frozenset({"c-1", "secret.md"})


def test_a_row_goes_when_a_cell_is_one_of_the_strings_and_not_when_it_contains_one() -> None:
    assert redacted_row({"chunk_id": "c-1", "text": "x"}, GONE) is None
    assert redacted_row({"chunk_id": "c-10", "text": "see secret.md"}, GONE) == {
        "chunk_id": "c-10",
        "text": "see secret.md",
    }


def test_a_list_loses_the_strings_and_takes_its_row_along_when_nothing_is_left() -> None:
    assert redacted_row({"documents": ["a.md", "secret.md"]}, GONE) == {"documents": ["a.md"]}
    assert redacted_row({"documents": ["secret.md"]}, GONE) is None
    assert redacted_row({"documents": [], "rank": 3}, GONE) == {"documents": [], "rank": 3}


def test_a_table_keeps_its_schema_and_its_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    schema = pa.schema([pa.field("chunk_id", pa.string(), nullable=False), pa.field("ids", pa.list_(pa.string()))])
    rows = [{"chunk_id": "c-1", "ids": ["x"]}, {"chunk_id": "c-2", "ids": ["c-1", "c-2"]}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    assert redact_parquet(path, GONE) == 1
    after = pq.read_table(path)
    assert after.schema == schema
    assert after.to_pylist() == [{"chunk_id": "c-2", "ids": ["c-2"]}]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]


def test_an_untouched_table_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"chunk_id": ["c-2"]}), path)
    before = path.stat().st_mtime_ns
    assert redact_parquet(path, GONE) == 0
    assert path.stat().st_mtime_ns == before


def test_rows_go_at_any_depth_of_a_document(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    samples = [{"chunk_id": "c-1", "text": "x"}, {"chunk_id": "c-2", "text": "y"}]
    document = {"type": "Pairs", "fields": {"certificate": {"samples": samples, "passed": True}, "names": ["c-1", "z"]}}
    path.write_text(json.dumps(document), "utf-8")
    assert redact_json(path, GONE) == 2
    fields = json.loads(path.read_text("utf-8"))["fields"]
    assert fields == {"certificate": {"samples": samples[1:], "passed": True}, "names": ["z"]}
