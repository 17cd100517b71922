"""What a model version learned from: the chunks whose texts its weights were moved by, and their documents.

What belongs here: writing that down beside the weights, and walking from a document to the versions. What does not:
choosing what is trained on (`pairs`), forgetting a document (`forgetting`).

A version has learned what its parents learned. The file quotes no text: ids and document names only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from domain_embed_pipeline.records import Chunk, HardNegative, TrainingPair
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.tables import rows_of, table_of

FILE_NAME = "learned_from.parquet"


@dataclass(frozen=True, slots=True)
class LearnedChunk:
    """A chunk that was in the training rows of one version."""

    chunk_id: str
    document_ids: tuple[str, ...]
    """Documents that held it at that time."""
    anchor_count: int
    """Pairs in which it was the positive."""
    negative_count: int
    """Rows in which it was a mined negative."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Whether a version learned from some documents."""

    model_version: str
    through: tuple[str, ...]
    """The versions whose own rows held them: itself, or ancestors whose weights it started from."""
    chunk_ids: tuple[str, ...]


def learned_from_pairs(pairs: Iterable[TrainingPair], chunks: Sequence[Chunk]) -> tuple[LearnedChunk, ...]:
    """Chunks behind training pairs, by chunk id."""
    return _learned(Counter(pair.chunk_id for pair in pairs), Counter(), chunks)


def learned_from_negatives(rows: Iterable[HardNegative], chunks: Sequence[Chunk]) -> tuple[LearnedChunk, ...]:
    """Chunks behind rows with mined negatives, on both sides, by chunk id."""
    rows = tuple(rows)
    positives = Counter(chunk_id for chunk_id, _ in {(row.chunk_id, row.anchor) for row in rows})
    return _learned(positives, Counter(row.negative_chunk_id for row in rows), chunks)


def _learned(positives: Counter[str], negatives: Counter[str], chunks: Sequence[Chunk]) -> tuple[LearnedChunk, ...]:
    documents = {chunk.chunk_id: chunk.document_ids for chunk in chunks}
    return tuple(
        LearnedChunk(chunk_id, documents.get(chunk_id, ()), positives[chunk_id], negatives[chunk_id])
        for chunk_id in sorted(positives.keys() | negatives.keys())
    )


def write_learned(folder: Path, learned: Sequence[LearnedChunk]) -> None:
    """Put the file into a version's folder. It is not part of the fingerprint: it changes no vector."""
    with (folder / FILE_NAME).open("wb") as file:
        pq.write_table(table_of(LearnedChunk, learned), file)


def read_learned(registry: ModelRegistry, model_version: str) -> tuple[LearnedChunk, ...] | None:
    """What the version's own rows held; None when that was not written down (base models, versions of others)."""
    data = registry.read(model_version, FILE_NAME)
    return rows_of(LearnedChunk, pq.read_table(pa.BufferReader(data))) if data is not None else None


def versions_that_learned(
    registry: ModelRegistry, *, document_ids: Collection[str] = (), chunk_ids: Collection[str] = ()
) -> tuple[Learned, ...]:
    """Every version whose weights were moved by any of the documents or chunks, oldest first."""
    own: dict[str, set[str]] = {}
    versions = registry.versions()
    for version in versions:
        learned = read_learned(registry, version.model_version) or ()
        own[version.model_version] = {
            row.chunk_id
            for row in learned
            if row.chunk_id in chunk_ids or not set(document_ids).isdisjoint(row.document_ids)
        }
    lines = {
        version.model_version: [version.model_version, *registry.ancestors(version.model_version)]
        for version in versions
    }
    return tuple(found for name, line in lines.items() if (found := _found(name, line, own)) is not None)


def _found(model_version: str, line: Sequence[str], own: Mapping[str, set[str]]) -> Learned | None:
    through = tuple(name for name in line if own.get(name))
    if not through:
        return None
    return Learned(model_version, through, tuple(sorted(set().union(*(own[name] for name in through)))))


def versions_without_record(registry: ModelRegistry) -> tuple[str, ...]:
    """Trained versions of which nobody wrote down what they learned from; what they learned cannot be told."""
    return tuple(
        version.model_version
        for version in registry.versions()
        if version.kind in ("stage_one", "stage_two") and read_learned(registry, version.model_version) is None
    )
