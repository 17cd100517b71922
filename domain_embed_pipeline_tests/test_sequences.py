"""Lazy sequences are sequences like any other, and hold no more than they say."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain_embed_pipeline import sequences
from domain_embed_pipeline.sequences import LazySequence, Mapped, StoredRows, batches

COUNT, GROUP, KEPT_GROUPS = 100, 7, 8
SQUARES = tuple(number * number for number in range(COUNT))


class Decoder:
    """Takes the column out, and counts the groups that it was given."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, table: pa.Table) -> tuple[int, ...]:
        self.calls += bool(table.num_rows)
        return tuple(table.column("square").to_pylist())


def stored(folder: Path, decode: Decoder, squares: tuple[int, ...] = SQUARES) -> StoredRows[int]:
    path = folder / "squares.parquet"
    pq.write_table(pa.table({"square": pa.array(squares, pa.int64())}), path, row_group_size=GROUP)
    return StoredRows(pq.ParquetFile(path), decode)


@pytest.fixture(params=["mapped", "stored"])
def squares(request: pytest.FixtureRequest, tmp_path: Path) -> LazySequence[int]:
    if request.param == "stored":
        return stored(tmp_path, Decoder())
    return Mapped(lambda number: number * number, range(COUNT))


def test_it_reads_like_a_tuple(squares: LazySequence[int]) -> None:
    assert len(squares) == COUNT
    assert tuple(squares) == SQUARES
    assert [squares[place] for place in range(-COUNT, COUNT)] == [*SQUARES, *SQUARES]
    assert squares[3:60:5] == SQUARES[3:60:5]
    assert squares[-4:] == SQUARES[-4:]
    assert squares[90:70:-3] == SQUARES[90:70:-3]
    assert 81 in squares
    assert 82 not in squares
    assert [tuple(part) for part in batches(squares, 30)] == [
        SQUARES[:30],
        SQUARES[30:60],
        SQUARES[60:90],
        SQUARES[90:],
    ]
    for place in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=f"no item {place} among {COUNT}"):
            squares[place]


def test_it_equals_what_holds_the_same(squares: LazySequence[int]) -> None:
    assert squares == SQUARES
    assert SQUARES == squares  # noqa: SIM300 a tuple asks the other side
    assert squares == Mapped(int, SQUARES)
    assert squares != SQUARES[:-1]
    assert squares != (*SQUARES[:-1], 0)
    assert squares != "squares"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda squares: pickle.loads(pickle.dumps(squares))])
def test_a_copy_has_all_items(squares: LazySequence[int], copied: Any) -> None:
    assert copied(squares) == SQUARES


def test_a_function_is_called_for_what_is_asked_for_alone() -> None:
    seen: list[int] = []
    made = Mapped(lambda number: seen.append(number) or number, range(COUNT))
    assert made[4] == 4
    assert made[10:12] == (10, 11)
    assert seen == [4, 10, 11]


def test_the_last_groups_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "KEPT_GROUPS", KEPT_GROUPS)
    decode = Decoder()
    rows = stored(tmp_path, decode)
    assert decode.calls == 0
    for place in range(GROUP * KEPT_GROUPS):
        assert rows[place] == SQUARES[place]
    assert decode.calls == KEPT_GROUPS
    assert rows[0] == 0
    assert decode.calls == KEPT_GROUPS, "the first group is still there"
    assert rows[GROUP * KEPT_GROUPS] == SQUARES[GROUP * KEPT_GROUPS]
    assert rows[0] == 0
    assert decode.calls == KEPT_GROUPS + 1, "what was asked for last stays"
    assert rows[GROUP] == SQUARES[GROUP]
    assert decode.calls == KEPT_GROUPS + 2, "what was not asked for longest went"


def test_threads_read_the_same_file(tmp_path: Path) -> None:
    rows = stored(tmp_path, Decoder())
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: tuple(rows), range(40))) == {SQUARES}


def test_no_rows(tmp_path: Path) -> None:
    rows = stored(tmp_path, Decoder(), ())
    assert (len(rows), tuple(rows), rows[:5]) == (0, (), ())
    assert rows == ()
    with pytest.raises(IndexError):
        rows[0]
