"""Frozen records that pass between rooms.

What belongs here: row types (one row of a table each) and the small results that more than one room reads. What does
not: behaviour beyond derived properties; a room's private types stay in the room. `tables.py` derives the Parquet
schema of each row type from its annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "dev", "test"]
PairSource = Literal["question", "title_body", "adjacent_sentence", "user"]


@dataclass(frozen=True, slots=True)
class Document:
    """One source file (or one source value of ready-made chunks) that was read."""

    document_id: str
    """Source path within the corpus, with forward slashes."""
    document_digest: str
    """sha256 of the normalised bytes."""
    media_type: str
    byte_count: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file, or a row of a file of ready chunks, that was set aside with its reason."""

    document_id: str
    reason: str
    """Short and stable: `empty`, `binary`, `too_large`, `not_text`, `unreadable`, `unsupported`, `no_text`, ..."""
    detail: str
    byte_count: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One retrievable piece of text. The same passage in two files is one chunk with two documents."""

    chunk_id: str
    text: str
    title: str
    """Document title and heading path joined by ` > `; empty when there is none."""
    document_ids: tuple[str, ...]
    """Every document that holds the passage, sorted."""
    external_ids: tuple[str, ...]
    """Ids that the user's own system gave the passage (BEIR `_id`, Qdrant point id), sorted."""
    position: int
    """Order within its first document, from 0."""
    token_count: int
    """Tokens of `embedding_text` by the base model's tokenizer, special tokens left out."""
    questions: tuple[str, ...] = ()
    """Questions that it is known to answer. Empty in the corpus; filled where an index is made or judged."""

    @property
    def document_id(self) -> str:
        """The first document that holds the passage."""
        return self.document_ids[0]

    @property
    def embedding_text(self) -> str:
        """What encoders see: title and text joined by `. ` as BEIR evaluations do."""
        return f"{self.title}. {self.text}" if self.title else self.text

    @property
    def expanded_text(self) -> str:
        """What BM25 sees: the embedding text and the questions that the chunk answers (doc2query, arXiv 1904.08375)."""
        return "\n".join((self.embedding_text, *self.questions))


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the corpus is now."""

    corpus_version: str
    chunks: Sequence[Chunk]
    """By first document and position. A stored corpus reads them when they are asked for."""
    documents: tuple[Document, ...]
    quarantine: tuple[QuarantinedFile, ...]
    duplicate_count: int
    """Passages that were merged into a chunk of the same text and title."""
    settings: dict[str, Any] = field(default_factory=dict, compare=False)
    """How it was read and cut (`CorpusSettings` by name, with the `tokenizer`), so that it can be compared with what is
    there later."""


@dataclass(frozen=True, slots=True)
class DocumentSplit:
    """The side that a document keeps for ever."""

    document_id: str
    cluster_id: str
    """Near-duplicate cluster of documents; a cluster is never divided between sides."""
    split: Split


@dataclass(frozen=True, slots=True)
class ChunkCluster:
    """Near-duplicate cluster of chunks; its members count as positives of each other."""

    chunk_id: str
    cluster_id: str


@dataclass(frozen=True, slots=True)
class DocumentSplits:
    """Splits and near-duplicate clusters of one corpus version."""

    corpus_version: str
    splits_version: str
    holds_out: bool
    """False when the user's own queries are the evaluation set: every document then may be trained on."""
    documents: tuple[DocumentSplit, ...]
    chunk_clusters: tuple[ChunkCluster, ...]
    settings_digest: str = ""
    """Of shares and seed: splits made with other ones are no guide for these."""


@dataclass(frozen=True, slots=True)
class Question:
    """LLM output (or a recorded question) that was valid for its chunk; not yet an accepted pair."""

    question_id: str
    chunk_id: str
    style: str
    text: str
    generator: str
    """Model name, or the name given when the questions were imported."""


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """Anchor and positive for MultipleNegativesRankingLoss, with where it came from."""

    pair_id: str
    anchor: str
    positive: str
    chunk_id: str
    """Chunk that the positive is (or was cut from): rows of one chunk are kept out of one batch."""
    source: PairSource
    style: str


@dataclass(frozen=True, slots=True)
class RejectedPair:
    """A pair that a filter dropped, and why."""

    anchor: str
    chunk_id: str
    source: PairSource
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """A held-out query."""

    query_id: str
    text: str
    split: Split
    style: str


@dataclass(frozen=True, slots=True)
class RelevanceJudgment:
    """A row of qrels: the chunk is relevant to the query."""

    query_id: str
    chunk_id: str


@dataclass(frozen=True, slots=True)
class LostQuery:
    """A query none of whose relevant texts is in the corpus any more."""

    query_id: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Held-out queries with many-to-one relevance over one corpus version."""

    evaluation_set_version: str
    corpus_version: str
    origin: Literal["user", "generated"]
    queries: tuple[EvaluationQuery, ...]
    qrels: tuple[RelevanceJudgment, ...]
    lost_queries: tuple[LostQuery, ...]

    def queries_of(self, split: Split) -> tuple[EvaluationQuery, ...]:
        """Queries of one split, in stable order."""
        return tuple(query for query in self.queries if query.split == split)

    def relevant_chunks(self) -> dict[str, frozenset[str]]:
        """`query_id -> chunk ids` for every query."""
        relevant: dict[str, set[str]] = {query.query_id: set() for query in self.queries}
        for row in self.qrels:
            relevant[row.query_id].add(row.chunk_id)
        return {query_id: frozenset(chunk_ids) for query_id, chunk_ids in relevant.items()}


@dataclass(frozen=True, slots=True)
class HardNegative:
    """An anchor with its positive and one mined chunk that is near but not relevant."""

    anchor: str
    positive: str
    negative: str
    chunk_id: str
    negative_chunk_id: str
    rank: int
    positive_score: float
    negative_score: float
