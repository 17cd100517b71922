"""Document expansion: a chunk is found by the questions that it answers, not by its own words alone.

Users' words for a thing are often not the document's, and the questions that an LLM wrote for a chunk bring some of
them in. Sparse: Nogueira et al., "Document Expansion by Query Prediction", arXiv 1904.08375. Dense: the chunk's vector
is moved towards the mean of its questions' vectors, so that nothing changes for whoever queries the index.

What belongs here: a corpus with its questions, and the vectors of such chunks. What does not: whether expansion pays,
which dev queries decide (`evaluation.modes`).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.encoding.vectors import unit_length
from domain_embed_pipeline.ids import version_of
from domain_embed_pipeline.records import Chunk, Corpus, EvaluationSet, TrainingPair
from domain_embed_pipeline.sequences import Mapped

if TYPE_CHECKING:
    import numpy as np

QUESTION_SHARE = 0.5
"""Share of the questions' mean in an expanded chunk's vector."""

CHUNKS_AT_ONCE = 32_768
"""Chunks whose texts are in memory while they are encoded; among so many, texts of like length are not far."""


def expand_corpus(corpus: Corpus, pairs: Iterable[TrainingPair], evaluation_set: EvaluationSet) -> Corpus:
    """The corpus with the questions that passed every filter and the leakage certificate.

    Nothing is expanded when the evaluation queries were generated: they are questions of held-out documents, which
    then would be the only ones without any, and the figures would mislead.
    """
    if evaluation_set.origin == "generated":
        return corpus
    found: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        if pair.source == "question":
            found[pair.chunk_id].append(pair.anchor)

    def with_questions(chunk: Chunk) -> Chunk:
        """The chunk and what it answers."""
        return dataclasses.replace(chunk, questions=tuple(found.get(chunk.chunk_id, ())))

    return dataclasses.replace(corpus, chunks=Mapped(with_questions, corpus.chunks))


def without_questions(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """The same chunks as the corpus has them."""
    return Mapped(lambda chunk: dataclasses.replace(chunk, questions=()) if chunk.questions else chunk, chunks)


def is_expanded(chunks: Iterable[Chunk]) -> bool:
    """Whether any chunk has questions."""
    return any(chunk.questions for chunk in chunks)


def expansion_version(chunks: Iterable[Chunk]) -> str:
    """Digest of all questions by chunk; empty when there are none."""
    lines = [f"{chunk.chunk_id}\n{question}" for chunk in chunks for question in chunk.questions]
    return version_of("expansion", sorted(lines)) if lines else ""


def encode_chunks(encoder: Encoder, chunks: Sequence[Chunk]) -> np.ndarray:
    """Vectors of chunks, shape (len(chunks), dimension), at unit length where they are expanded.

    A chunk without questions has the vector of its embedding text. No more than `CHUNKS_AT_ONCE` chunks are in memory.
    """
    import numpy as np

    vectors = np.empty((len(chunks), encoder.spec.dimension), dtype=np.float32)
    for start in range(0, len(chunks), CHUNKS_AT_ONCE):
        part = chunks[start : start + CHUNKS_AT_ONCE]
        vectors[start : start + len(part)] = _encode_part(encoder, part)
    return vectors


def _encode_part(encoder: Encoder, chunks: Sequence[Chunk]) -> np.ndarray:
    import numpy as np

    vectors = encoder.encode_passages([chunk.embedding_text for chunk in chunks])
    owners = [row for row, chunk in enumerate(chunks) for _ in chunk.questions]
    if not owners:
        return vectors
    asked = encoder.encode_queries([question for chunk in chunks for question in chunk.questions])
    sums = np.zeros_like(vectors)
    np.add.at(sums, owners, asked)
    expanded = np.unique(owners)
    vectors = vectors.copy()
    mixed = (1 - QUESTION_SHARE) * unit_length(vectors[expanded]) + QUESTION_SHARE * unit_length(sums[expanded])
    vectors[expanded] = unit_length(mixed)
    return vectors
