"""Rows of the loss's input, made from training pairs and mined negatives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    siblings: tuple[str, ...] = ()
    """Other anchors of the same positive, ranked in the same step: the positive is encoded once for all of them."""

    @property
    def anchors(self) -> tuple[str, ...]:
        """The anchor and its siblings."""
        return (self.anchor, *self.siblings)


def pair_rows(
    pairs: Sequence[TrainingPair], clusters: Mapping[str, str], *, anchors_per_row: int = 1
) -> list[TrainingRow]:
    """Rows without mined negatives.

    Args:
        pairs: Anchor-positive pairs.
        clusters: Near-duplicate cluster of each chunk; a chunk that is not in it is its own cluster.
        anchors_per_row: Anchors of one positive that share a row, see `TrainingRow.siblings`.
    """
    together: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        together.setdefault((pair.positive, pair.chunk_id), []).append(pair.anchor)
    width = _width(together.values(), anchors_per_row)
    return [
        TrainingRow(
            anchor=anchors[0],
            positive=positive,
            negatives=(),
            groups=RowGroups(frozenset((*map(_anchor_group, anchors), _cluster(chunk_id, clusters)))),
            siblings=anchors[1:],
        )
        for (positive, chunk_id), whole in together.items()
        for anchors in _shares(whole, width)
    ]


def negative_rows(
    negatives: Sequence[HardNegative], clusters: Mapping[str, str], *, anchors_per_row: int = 1
) -> list[TrainingRow]:
    """Rows with mined negatives.

    A row of one anchor has all the negatives that were mined for it; a row of several has as many, the best-scoring
    ones of all its anchors.
    """
    mined: dict[tuple[str, str], dict[str, list[HardNegative]]] = {}
    for row in negatives:
        mined.setdefault((row.positive, row.chunk_id), {}).setdefault(row.anchor, []).append(row)
    width = _width([list(anchors) for anchors in mined.values()], anchors_per_row)
    return [
        _negative_row(positive, chunk_id, {anchor: by_anchor[anchor] for anchor in anchors}, anchors, clusters)
        for (positive, chunk_id), by_anchor in mined.items()
        for anchors in _shares(list(by_anchor), width)
    ]


def _negative_row(
    positive: str,
    chunk_id: str,
    mined: Mapping[str, Sequence[HardNegative]],
    anchors: tuple[str, ...],
    clusters: Mapping[str, str],
) -> TrainingRow:
    count = min(map(len, mined.values()))
    rows = [row for anchor in mined for row in mined[anchor]]
    if len(mined) > 1:
        distinct = {row.negative_chunk_id: row for row in sorted(rows, key=lambda row: row.negative_score)}
        rows = sorted(distinct.values(), key=lambda row: (-row.negative_score, row.negative_chunk_id))[:count]
    return TrainingRow(
        anchor=anchors[0],
        positive=positive,
        negatives=tuple(row.negative for row in rows),
        groups=RowGroups(
            own=frozenset((*map(_anchor_group, anchors), _cluster(chunk_id, clusters))),
            negatives=frozenset(_cluster(row.negative_chunk_id, clusters) for row in rows),
        ),
        siblings=anchors[1:],
    )


def _width(anchors: Iterable[Sequence[str]], wanted: int) -> int:
    """Anchors a row: what is wanted, or the most that any positive has."""
    return max(1, min(wanted, max(map(len, anchors), default=1)))


def _shares(anchors: Sequence[str], width: int) -> Iterator[tuple[str, ...]]:
    """Anchors dealt out to rows of equal width; the last row begins again at the front to be full."""
    for start in range(0, len(anchors), width):
        yield tuple(anchors[place % len(anchors)] for place in range(start, start + width))


def rows_digest(rows: Sequence[TrainingRow]) -> str:
    """Digest of the rows in their order, groups included: what a training sees of its data."""
    return digest_of(
        *(
            digest_of(
                *row.anchors, row.positive, *row.negatives, *sorted(row.groups.own), *sorted(row.groups.negatives)
            )
            for row in rows
        )
    )


def dataset_of(rows: Sequence[TrainingRow]) -> Dataset:
    """Columns in the order the loss reads them: anchor, positive, negative_1, ..., sibling_1, ...

    As many negatives as every row has.
    """
    from datasets import Dataset

    columns: dict[str, list[str]] = {
        "anchor": [row.anchor for row in rows],
        "positive": [row.positive for row in rows],
    }
    for index in range(negative_count(rows)):
        columns[f"negative_{index + 1}"] = [row.negatives[index] for row in rows]
    for index in range(sibling_count(rows)):
        columns[f"sibling_{index + 1}"] = [row.siblings[index] for row in rows]
    return Dataset.from_dict(columns)


def negative_count(rows: Sequence[TrainingRow]) -> int:
    """Mined negatives that every row has."""
    return min(len(row.negatives) for row in rows)


def sibling_count(rows: Sequence[TrainingRow]) -> int:
    """Further anchors that every row has."""
    return min(len(row.siblings) for row in rows)


def _anchor_group(anchor: str) -> str:
    return f"anchor:{normalise_text(anchor).casefold()}"


def _cluster(chunk_id: str, clusters: Mapping[str, str]) -> str:
    return clusters.get(chunk_id, chunk_id)
