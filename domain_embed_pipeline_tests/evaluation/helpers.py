"""Small evaluations made by hand or by dice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.evaluation.fusion import DENSE
from domain_embed_pipeline.evaluation.metrics import query_result
from domain_embed_pipeline.evaluation.records import Evaluation, QueryResult, RetrievalMode
from domain_embed_pipeline.records import Chunk, Corpus, Document, EvaluationQuery, EvaluationSet, RelevanceJudgment


def spec_of(model_version: str, dimension: int = 4) -> EncoderSpec:
    return EncoderSpec(
        model_version=model_version,
        fingerprint=f"fp-{model_version}",
        dimension=dimension,
        max_length=128,
        query_prompt="",
        passage_prompt="",
        normalize=True,
        dtype="float32",
    )


class TableEncoder:
    """Vectors looked up by text; a text it does not know gets the vector of its first known word."""

    def __init__(self, vectors: Mapping[str, Sequence[float]], model_version: str = "table") -> None:
        self.vectors, self.spec = vectors, spec_of(model_version, len(next(iter(vectors.values()))))

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(len(texts), -1)

    encode_passages = encode_queries

    def _vector(self, text: str) -> Sequence[float]:
        return next(self.vectors[word] for word in [text, *text.replace(".", "").split()] if word in self.vectors)


def ranked_row(query_id: str, rank: int | None, *, cluster_id: str = "") -> QueryResult:
    """A query with one answer, found at this rank (from 1) or not at all."""
    retrieved = [f"other-{place}" for place in range(10)]
    if rank is not None and rank <= 10:
        retrieved[rank - 1] = "answer"
    return query_result(query_id, "text", relevant={"answer"}, retrieved=retrieved, cluster_id=cluster_id or query_id)


def rows_with(ranks: Sequence[int | None], clusters: Sequence[str] | None = None) -> tuple[QueryResult, ...]:
    clusters = clusters or [""] * len(ranks)
    return tuple(
        ranked_row(f"q{place:04d}", rank, cluster_id=cluster)
        for place, (rank, cluster) in enumerate(zip(ranks, clusters, strict=True))
    )


def evaluation_of(
    dense: Sequence[QueryResult],
    model_version: str,
    *,
    served: Sequence[QueryResult] | None = None,
    mode: RetrievalMode = DENSE,
) -> Evaluation:
    return Evaluation(
        model_version=model_version,
        encoder=spec_of(model_version),
        corpus_version="corpus-1",
        evaluation_set_version="evaluation_set-1",
        split="test",
        mode=mode,
        query_results=tuple(dense),
        served_query_results=tuple(dense if served is None else served),
        duration_s=1.0,
    )


def chunk_of(chunk_id: str, text: str, *, document_id: str = "docs/a.md", title: str = "") -> Chunk:
    return Chunk(chunk_id, text, title, (document_id,), (), 0, len(text.split()))


def corpus_of(chunks: Sequence[Chunk]) -> Corpus:
    documents = tuple(
        Document(document_id, "d", "text/plain", 1, 1)
        for document_id in sorted({chunk.document_id for chunk in chunks})
    )
    return Corpus("corpus-1", tuple(chunks), documents, (), 0)


def evaluation_set_of(
    queries: Mapping[str, tuple[str, str, Sequence[str]]], styles: Mapping[str, str] | None = None
) -> EvaluationSet:
    """From `query_id -> (text, split, relevant chunk ids)`."""
    styles = styles or {}
    rows = [
        EvaluationQuery(query_id, text, split, styles.get(query_id, ""))  # pyright: ignore[reportArgumentType]
        for query_id, (text, split, _) in queries.items()
    ]
    qrels = [
        RelevanceJudgment(query_id, chunk_id) for query_id, (_, _, chunks) in queries.items() for chunk_id in chunks
    ]
    return EvaluationSet("evaluation_set-1", "corpus-1", "user", tuple(rows), tuple(qrels), ())


def with_corpus(evaluation: Evaluation, corpus_version: str) -> Evaluation:
    return dataclasses.replace(evaluation, corpus_version=corpus_version)
