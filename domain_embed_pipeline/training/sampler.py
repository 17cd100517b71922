"""Batches in which no row is a false negative of another.

MultipleNegativesRankingLoss takes every other row's positive (and every mined negative) as a negative. So no two rows
of a batch may share an anchor or a positive's near-duplicate cluster, and no row's mined negative may be in the cluster
of another row's positive.

All batches of a training are planned before it starts, across its epochs: the number of steps is then exact, a fraction
of an epoch is a fraction of the plan, and a resumed training finds its place by counting.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from domain_embed_pipeline.training.distributed import is_distributed

logger = logging.getLogger(__name__)

_LOOKAHEAD = 4
"""Batches' worth of waiting rows that are looked through for one batch: the plan stays linear in the rows even when
one cluster holds most of them."""
_SMALLEST_SHARE = 0.25
"""A last batch under this share of the largest is left out: its rows would see hardly any negatives."""


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Groups of one training row."""

    own: frozenset[str]
    """Anchor and the clusters of its positive: shared with no other row of the batch."""
    negatives: frozenset[str] = frozenset()
    """Clusters of its mined negatives: no other row's `own`."""


class _Batch:
    def __init__(self, groups: Sequence[RowGroups], size: int) -> None:
        self._groups, self._size = groups, size
        self._own: set[str] = set()
        self._negatives: set[str] = set()
        self.rows: list[int] = []

    @property
    def is_full(self) -> bool:
        """Whether it has the asked number of rows."""
        return len(self.rows) >= self._size

    def take(self, row: int) -> bool:
        """Add the row unless it conflicts or there is no room."""
        group = self._groups[row]
        if self.is_full or self._own & group.own or self._own & group.negatives or self._negatives & group.own:
            return False
        self.rows.append(row)
        self._own |= group.own
        self._negatives |= group.negatives
        return True


def grouped_batches(groups: Sequence[RowGroups], order: Iterable[int], batch_size: int) -> Iterator[list[int]]:
    """Cut `order` into batches without conflicts, keeping the order as far as possible.

    A row that conflicts waits for the next batch. The last batches may be smaller; no row is lost.
    """
    arriving = iter(order)
    waiting: list[int] = []
    while True:
        batch = _Batch(groups, batch_size)
        near, far = waiting[: _LOOKAHEAD * batch_size], waiting[_LOOKAHEAD * batch_size :]
        waiting = [row for row in near if not batch.take(row)] + far
        while not batch.is_full:
            row = next(arriving, None)
            if row is None:
                break
            if not batch.take(row):
                waiting.append(row)
        if not batch.rows:
            return
        yield batch.rows


def plan_batches(groups: Sequence[RowGroups], *, batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """All batches of a training, in order.

    Every epoch is a new shuffle of all rows, a last fraction of one the first part of a shuffle. Rows that conflict at
    the end of one epoch go into the first batches of the next.
    """
    order = itertools.islice(_shuffles(len(groups), seed), math.ceil(len(groups) * epochs))
    batches = list(grouped_batches(groups, order, batch_size))
    floor = max(map(len, batches)) * _SMALLEST_SHARE
    kept = next(end for end in range(len(batches), 0, -1) if len(batches[end - 1]) >= floor)
    left_out = sum(map(len, batches[kept:]))
    if left_out > batch_size:
        logger.warning("%d rows are near-duplicates of so many others that no batch takes them.", left_out)
    return batches[:kept]


def _shuffles(count: int, seed: int) -> Iterator[int]:
    for epoch in itertools.count():
        order = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        yield from order


class PlannedSampling:
    """A `batch_sampler` for sentence-transformers training arguments that yields planned batches in one pass.

    It can be pickled, because the trainer saves its arguments with each checkpoint; the plan is left out of that.
    """

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self._batches = batches

    def __getstate__(self) -> dict[str, Any]:
        return {"_batches": ()}

    def __call__(self, dataset: Any, batch_size: int, drop_last: bool, **options: Any) -> Any:
        """The sampler of one dataset."""
        from sentence_transformers.base.sampler import DefaultBatchSampler

        batches = self._batches

        class PlannedBatchSampler(DefaultBatchSampler):
            """Gives the batches as they were planned."""

            def __iter__(self) -> Iterator[list[int]]:
                return iter(batches)

            def __len__(self) -> int:
                return len(batches)

        sampler = PlannedBatchSampler(dataset, batch_size=batch_size, drop_last=drop_last, **options)
        if is_distributed():
            # The size of a batch is its own: with a number here, accelerate would pass over shorter ones.
            sampler.batch_size = None  # pyright: ignore[reportAttributeAccessIssue]
        return sampler
