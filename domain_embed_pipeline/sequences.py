"""Going through more than memory holds: batches, a bounded number of threads, sequences made as they are asked for.

What belongs here: ways that know nothing of what they go through. What does not: which records are kept this way (the
annotation `Sequence[Row]` of a record says so, see `tables`).
"""

from __future__ import annotations

import bisect
import itertools
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

T = TypeVar("T")
S = TypeVar("S")

KEPT_GROUPS = 32
"""Groups of rows that a `StoredRows` holds in memory: a corpus of up to 131,072 chunks is decoded once, in a larger one
each pass costs 9 s a million chunks."""


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def map_in_threads(
    work: Callable[[S], T],
    items: Iterable[S],
    threads: int,
    *,
    name: str,
    initializer: Callable[[], object] | None = None,
) -> Iterator[T]:
    """What `work` returns for each item, as it is done; of the items only twice as many as threads are taken ahead.

    Args:
        work: Called once for each item.
        items: Any number.
        threads: How many work at a time.
        name: Of the threads.
        initializer: Called in each thread before its first item.

    Raises:
        Exception: What `work` raised first; items that wait are then left alone.
    """
    pending: set[Future[T]] = set()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name, initializer=initializer)
    try:
        for item in items:
            if len(pending) >= threads * 2:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
            pending.add(pool.submit(work, item))
        yield from (future.result() for future in pending)
    finally:
        # After a failure the items still waiting would each take their time, or go through all their retries.
        pool.shutdown(wait=True, cancel_futures=True)


class LazySequence(Sequence[T]):
    """Equal to any sequence of equal items; pickled and deeply copied as a tuple of them."""

    @abstractmethod
    def item(self, index: int) -> T:
        """The item at an index from 0 to the length."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self.item(place) for place in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"There is no item {index} among {len(self)}.")
        return self.item(place)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LazySequence | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} items)"


class Mapped(LazySequence[T]):
    """What a function makes of each item of another sequence, each time that it is asked for."""

    def __init__(self, function: Callable[[S], T], source: Sequence[S]) -> None:
        self._function, self._source = function, source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[T]:
        return map(self._function, self._source)

    def item(self, index: int) -> T:
        """The function of the source's item."""
        return self._function(self._source[index])


class StoredRows(LazySequence[T]):
    """Rows of an open Parquet file. Of its groups of rows the last few that were asked for stay in memory."""

    def __init__(self, file: pq.ParquetFile, decode: Callable[[pa.Table], tuple[T, ...]]) -> None:
        """Look at the file's schema and sizes; no row is read yet.

        Args:
            file: Kept open, so that its rows stay readable when another file takes its name.
            decode: A table's rows; it may refuse a schema.
        """
        decode(file.schema_arrow.empty_table())
        metadata = file.metadata
        sizes = (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
        self._file, self._decode = file, decode
        self._ends = list(itertools.accumulate(sizes))
        self._kept: OrderedDict[int, tuple[T, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(map(self._group, range(len(self._ends))))

    def item(self, index: int) -> T:
        """A row of the group that it lies in."""
        number = bisect.bisect_right(self._ends, index)
        return self._group(number)[index - self._ends[number]]

    def _group(self, number: int) -> tuple[T, ...]:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = self._decode(self._file.read_row_group(number))
                if len(self._kept) > KEPT_GROUPS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]
