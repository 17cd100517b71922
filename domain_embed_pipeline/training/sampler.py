"""Batches in which no row is a false negative of another.

MultipleNegativesRankingLoss takes every other row's positive (and every mined negative) as a negative. So no two rows
of a batch may share an anchor or a positive's near-duplicate cluster, and no row's mined negative may be in the cluster
of another row's positive.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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


class GroupAwareSampling:
    """A `batch_sampler` for sentence-transformers training arguments that keeps `groups` apart.

    It can be pickled, because the trainer saves its arguments with each checkpoint; the groups are left out of that.
    """

    def __init__(self, groups: Sequence[RowGroups]) -> None:
        self._groups = groups

    def __getstate__(self) -> dict[str, Any]:
        return {"_groups": ()}

    def __call__(self, dataset: Any, batch_size: int, drop_last: bool, **options: Any) -> Any:
        """The sampler of one dataset: shuffles by seed and epoch, then cuts batches without conflicts."""
        import torch
        from sentence_transformers.base.sampler import DefaultBatchSampler

        groups = self._groups

        class GroupAwareBatchSampler(DefaultBatchSampler):
            @functools.lru_cache(maxsize=2)  # noqa: B019 - the sampler lives as long as its training
            def _batches(self, epoch: int) -> list[list[int]]:
                generator = torch.Generator().manual_seed(self.seed + epoch)
                order = torch.randperm(len(groups), generator=generator).tolist()
                return list(grouped_batches(groups, order, self.batch_size))

            def __iter__(self) -> Iterator[list[int]]:
                return iter(self._batches(self.epoch))

            def __len__(self) -> int:
                return len(self._batches(self.epoch))

        return GroupAwareBatchSampler(dataset, batch_size=batch_size, drop_last=drop_last, **options)
