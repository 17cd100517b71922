"""Records survive the way to disk and back, and a failed write costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain_embed_pipeline.sequences import StoredRows
from domain_embed_pipeline.tables import (
    ROW_GROUP,
    RecordFormatError,
    load_record,
    rows_of,
    save_record,
    schema_of,
    table_of,
)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    count: int
    share: float
    is_kept: bool
    kind: Literal["a", "b"]
    names: tuple[str, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class Inner:
    word: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outer:
    version: str
    rows: tuple[Row, ...]
    inner: Inner
    maybe: Inner | None
    several: tuple[Inner, ...] | None = None
    limits: dict[str, float] = field(default_factory=dict)
    added_later: int = 7
    rows_added_later: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Large:
    words: Sequence[Inner]


ROWS = (
    Row('ä, "quoted"\n\t\u2028', 2**62, 0.1, True, "a", ("x", "y"), None),
    Row("", -1, math.inf, False, "b", (), "noted"),
)
OUTER = Outer("v1", ROWS, Inner("w", (1, 2)), None, (Inner("z", ()),), {"low": 0.5})


def test_a_record_comes_back_equal_with_nested_records_and_none(tmp_path: Path) -> None:
    save_record(OUTER, str(tmp_path / "record"))
    assert load_record(Outer, str(tmp_path / "record")) == OUTER


def test_a_table_that_an_older_record_lacks_is_empty_where_the_field_has_a_default(tmp_path: Path) -> None:
    save_record(OUTER, str(tmp_path / "record"))
    (tmp_path / "record" / "rows_added_later.parquet").unlink()
    assert load_record(Outer, str(tmp_path / "record")) == OUTER
    (tmp_path / "record" / "rows.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        load_record(Outer, str(tmp_path / "record"))


def test_a_record_without_rows_keeps_its_empty_tuple_and_the_schema(tmp_path: Path) -> None:
    save_record(Outer("v0", (), Inner("w", ()), Inner("m", (3,))), str(tmp_path / "record"))
    loaded = load_record(Outer, str(tmp_path / "record"))
    assert loaded.rows == ()
    assert loaded.maybe == Inner("m", (3,))


def test_schema_follows_the_annotations() -> None:
    schema = schema_of(Row)
    assert schema.field("count").type == pa.int64()
    assert schema.field("names").type == pa.list_(pa.string())
    assert [name for name in schema.names if schema.field(name).nullable] == ["note"]


def test_a_type_without_a_column_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="complex"):
        schema_of(Odd)


def test_a_table_that_lacks_a_column_says_which() -> None:
    table = table_of(Row, ROWS).drop_columns(["share"])
    with pytest.raises(RecordFormatError, match=r"lacks the columns \['share'\]"):
        rows_of(Row, table)


def test_columns_are_found_by_name_not_by_place() -> None:
    table = table_of(Row, ROWS)
    assert rows_of(Row, table.select(list(reversed(table.column_names)))) == ROWS


def test_a_second_write_replaces_the_first_wholly(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    save_record(OUTER, str(folder))
    (folder / "leftover.parquet").write_bytes(b"old")
    save_record(Outer("v2", ROWS[:1], Inner("w", ()), None), str(folder))
    assert load_record(Outer, str(folder)).version == "v2"
    assert not (folder / "leftover.parquet").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_write_that_fails_leaves_the_stored_record_and_no_rubbish(tmp_path: Path) -> None:
    folder = str(tmp_path / "record")
    save_record(OUTER, folder)
    broken = Outer("v2", (Row("n", "not a number", 0.1, True, "a", (), None),), Inner("w", ()), None)  # type: ignore[arg-type]
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        save_record(broken, folder)
    assert load_record(Outer, folder) == OUTER
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_swap_that_fails_puts_the_stored_record_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    folder = str(tmp_path / "record")
    save_record(OUTER, folder)
    move: Callable[..., None] = LocalFileSystem.mv

    def full_disk(self: LocalFileSystem, source: str, target: str, **options: object) -> None:
        if source.endswith(".staged"):
            raise OSError("No space left on device")
        move(self, source, target, **options)

    monkeypatch.setattr(LocalFileSystem, "mv", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_record(Outer("v2", (), Inner("w", ()), None), folder)
    assert load_record(Outer, folder) == OUTER


def test_a_field_that_was_added_later_gets_its_default(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    save_record(OUTER, str(folder))
    text = (folder / "record.json").read_text(encoding="utf-8").replace('"added_later": 7', '"unknown": 1')
    (folder / "record.json").write_text(text, encoding="utf-8")
    assert load_record(Outer, str(folder)).added_later == 7


def test_a_record_of_another_type_is_refused(tmp_path: Path) -> None:
    save_record(Inner("w", ()), str(tmp_path / "record"))
    with pytest.raises(RecordFormatError, match="holds a Inner, not a Outer"):
        load_record(Outer, str(tmp_path / "record"))


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://large-record"])
def test_rows_of_a_sequence_are_read_when_they_are_asked_for(root: str, tmp_path: Path) -> None:
    words = tuple(Inner(f"w{number}", (number,)) for number in range(ROW_GROUP * 2 + 5))
    place = f"{root.format(tmp_path=tmp_path)}/record"
    save_record(Large(words), place)
    found = load_record(Large, place)
    assert isinstance(found.words, StoredRows)
    assert found == Large(words)
    save_record(Large(words[:3]), place)
    assert found.words[ROW_GROUP * 2] == words[ROW_GROUP * 2], "what was opened stays readable"
    assert load_record(Large, place) == Large(words[:3])
    save_record(found, place)
    assert load_record(Large, place) == Large(words), "one record's rows are another's"


def test_a_sequence_whose_table_lacks_a_column_is_refused_before_a_row_is_asked_for(tmp_path: Path) -> None:
    save_record(Large((Inner("w", ()),)), tmp_path)
    pq.write_table(pa.table({"word": ["w"]}), tmp_path / "words.parquet")
    with pytest.raises(RecordFormatError, match=r"lacks the columns \['numbers'\]"):
        load_record(Large, tmp_path)


def test_nothing_stored_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_record(Outer, str(tmp_path / "nothing"))


def test_any_fsspec_url_will_do() -> None:
    save_record(OUTER, "memory://tables/record")
    save_record(OUTER, "memory://tables/record")
    assert load_record(Outer, "memory://tables/record") == OUTER
