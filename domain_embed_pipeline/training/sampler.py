"""Batches in which no row is a false negative of another.

MultipleNegativesRankingLoss takes every other row's positive (and every mined negative) as a negative. So no two rows
of a batch may share an anchor or a positive's near-duplicate cluster, and no row's mined negative may be in the cluster
of another row's positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Groups of one training row."""

    own: frozenset[str]
    """Anchor and the clusters of its positive: shared with no other row of the batch."""
    negatives: frozenset[str] = frozenset()
    """Clusters of its mined negatives: no other row's `own`."""


def grouped_batches(groups: Sequence[RowGroups], order: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Cut `order` into batches without conflicts, keeping the order as far as possible.

    A row that conflicts waits for the next batch. The last batches may be smaller; no row is lost.
    """
    waiting = list(order)
    while waiting:
        batch: list[int] = []
        own: set[str] = set()
        negatives: set[str] = set()
        deferred: list[int] = []
        for position, row in enumerate(waiting):
            if len(batch) == batch_size:
                deferred.extend(waiting[position:])
                break
            group = groups[row]
            if own & group.own or own & group.negatives or negatives & group.own:
                deferred.append(row)
                continue
            batch.append(row)
            own |= group.own
            negatives |= group.negatives
        yield batch
        waiting = deferred


def group_aware_sampler(groups: Sequence[RowGroups]) -> Callable[..., Any]:
    """A `batch_sampler` for sentence-transformers training arguments that keeps `groups` apart."""
    import torch
    from sentence_transformers.base.sampler import DefaultBatchSampler

    class GroupAwareBatchSampler(DefaultBatchSampler):
        """Shuffles by seed and epoch, then cuts batches without conflicts."""

        def _batches(self) -> list[list[int]]:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(groups), generator=generator).tolist()
            return list(grouped_batches(groups, order, self.batch_size))

        def __iter__(self) -> Iterator[list[int]]:
            return iter(self._batches())

        def __len__(self) -> int:
            return len(self._batches())

    return GroupAwareBatchSampler
