"""Rows of the loss's input, made from training pairs and mined negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.ids import digest_of, normalise_text
from domain_embed_pipeline.records import HardNegative, TrainingPair
from domain_embed_pipeline.training.sampler import RowGroups

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """Anchor, positive, mined negatives, and what keeps it out of a batch."""

    anchor: str
    positive: str
    negatives: tuple[str, ...]
    groups: RowGroups


def pair_rows(pairs: Sequence[TrainingPair], clusters: Mapping[str, str]) -> list[TrainingRow]:
    """Rows without mined negatives.

    Args:
        pairs: Anchor-positive pairs.
        clusters: Near-duplicate cluster of each chunk; a chunk that is not in it is its own cluster.
    """
    return [
        TrainingRow(
            anchor=pair.anchor,
            positive=pair.positive,
            negatives=(),
            groups=RowGroups(frozenset((_anchor_group(pair.anchor), _cluster(pair.chunk_id, clusters)))),
        )
        for pair in pairs
    ]


def negative_rows(negatives: Sequence[HardNegative], clusters: Mapping[str, str]) -> list[TrainingRow]:
    """One row for each anchor and positive, with all the negatives that were mined for them."""
    together: dict[tuple[str, str, str], list[HardNegative]] = {}
    for row in negatives:
        together.setdefault((row.anchor, row.positive, row.chunk_id), []).append(row)
    return [
        TrainingRow(
            anchor=anchor,
            positive=positive,
            negatives=tuple(row.negative for row in mined),
            groups=RowGroups(
                own=frozenset((_anchor_group(anchor), _cluster(chunk_id, clusters))),
                negatives=frozenset(_cluster(row.negative_chunk_id, clusters) for row in mined),
            ),
        )
        for (anchor, positive, chunk_id), mined in together.items()
    ]


def rows_digest(rows: Sequence[TrainingRow]) -> str:
    """Digest of the rows in their order, groups included: what a training sees of its data."""
    return digest_of(
        *(
            digest_of(row.anchor, row.positive, *row.negatives, *sorted(row.groups.own), *sorted(row.groups.negatives))
            for row in rows
        )
    )


def dataset_of(rows: Sequence[TrainingRow]) -> Dataset:
    """Columns in the order the loss reads them: anchor, positive, negative_1, ...

    As many negatives as every row has.
    """
    from datasets import Dataset

    columns: dict[str, list[str]] = {
        "anchor": [row.anchor for row in rows],
        "positive": [row.positive for row in rows],
    }
    for index in range(min(len(row.negatives) for row in rows)):
        columns[f"negative_{index + 1}"] = [row.negatives[index] for row in rows]
    return Dataset.from_dict(columns)


def _anchor_group(anchor: str) -> str:
    return f"anchor:{normalise_text(anchor).casefold()}"


def _cluster(chunk_id: str, clusters: Mapping[str, str]) -> str:
    return clusters.get(chunk_id, chunk_id)
