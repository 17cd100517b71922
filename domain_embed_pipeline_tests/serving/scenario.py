"""Chunks, an encoder and plans that are small enough to work out by hand."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from domain_embed_pipeline.encoding.sparse import SparseSpec, fit_sparse_spec
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.evaluation.records import QueryResult, RetrievalMode
from domain_embed_pipeline.ids import chunk_id_of
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.records import BuildSettings, CollectionPlan
from domain_embed_pipeline.serving.retries import RetryPolicy

ALIAS = "manuals"
DENSE = RetrievalMode("dense")
SPARSE = RetrievalMode("sparse")
HYBRID = RetrievalMode("hybrid", fusion="rrf", sparse_weight=0.5)
QUICK = RetryPolicy(attempts=4, base_s=0.001, cap_s=0.01)
SUBJECTS = ["pump", "valve", "gasket", "rotor", "bearing", "filter", "sensor", "motor", "belt", "hose"]
ACTIONS = ["clean", "replace", "align", "inspect", "lubricate", "store", "order", "weld", "paint", "test"]


class WordEncoder:
    """Sum of one fixed random direction a word, so texts that share words are near. `seed` makes another model."""

    def __init__(self, model_version: str = "model-a", *, seed: int = 0, dimension: int = 32) -> None:
        self.seed = seed
        self.encoded = 0
        self.spec = EncoderSpec(
            model_version=model_version,
            fingerprint=f"words-{seed}-{dimension}",
            dimension=dimension,
            max_length=128,
            query_prompt="",
            passage_prompt="",
            normalize=True,
            dtype="float32",
        )

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded += len(texts)
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.spec.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                vectors[row] += _direction(word, self.seed, self.spec.dimension)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@functools.cache
def _direction(word: str, seed: int, dimension: int) -> np.ndarray:
    digest = hashlib.sha256(f"{seed}:{word}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(dimension)


def chunk_of(text: str, title: str = "", documents: tuple[str, ...] = ("a.md",)) -> Chunk:
    return Chunk(
        chunk_id=chunk_id_of(text, title),
        text=text,
        title=title,
        document_ids=documents,
        external_ids=(),
        position=0,
        token_count=len(text.split()),
    )


def chunks_of(count: int, *, start: int = 0) -> list[Chunk]:
    """`count` different instructions, ten to a document."""
    chunks = []
    for number in range(start, start + count):
        subject, action = SUBJECTS[number % 10], ACTIONS[number // 10 % 10]
        text = f"To {action} the {subject} follow procedure p{number}"
        chunks.append(chunk_of(text, f"{subject} manual", (f"manual-{number // 10}.md",)))
    return chunks


def texts_of(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.embedding_text for chunk in chunks]


def sparse_spec_of(chunks: Sequence[Chunk]) -> SparseSpec:
    return fit_sparse_spec(texts_of(chunks))


def plan_of(
    encoder: WordEncoder,
    chunks: Sequence[Chunk],
    *,
    corpus_version: str = "corpus-1",
    mode: RetrievalMode = DENSE,
    settings: BuildSettings | None = None,
) -> CollectionPlan:
    return CollectionPlan(
        alias=ALIAS,
        encoder=encoder.spec,
        corpus_version=corpus_version,
        mode=mode,
        sparse_spec=sparse_spec_of(chunks),
        settings=settings or BuildSettings(batch_size=16),
    )


def golden_of(text: str, relevant: Sequence[str], retrieved: Sequence[str]) -> QueryResult:
    """A row of an offline evaluation; only text, relevant and retrieved matter here."""
    zero = 0.0
    return QueryResult(
        query_id=f"q-{hashlib.sha256(text.encode()).hexdigest()[:8]}",
        text=text,
        retrieved=tuple(retrieved),
        relevant=tuple(relevant),
        recall_at_1=zero,
        recall_at_3=zero,
        recall_at_5=zero,
        recall_at_10=zero,
        hit_at_1=zero,
        hit_at_3=zero,
        hit_at_5=zero,
        hit_at_10=zero,
        mrr_at_10=zero,
        ndcg_at_10=zero,
        cluster_id="k-0",
    )


def dense_ranking(encoder: WordEncoder, chunks: Sequence[Chunk], query: str) -> list[str]:
    """Chunk ids by cosine, the plain way."""
    scores = encoder.encode_queries([query]) @ encoder.encode_passages(texts_of(chunks)).T
    return [chunks[row].chunk_id for row in np.argsort(-scores[0], kind="stable")]
