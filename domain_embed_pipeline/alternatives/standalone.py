"""One model on one judged set, outside a pipeline run.

What belongs here: the measurement behind `domain-embed evaluate`. What does not: how it is printed (the CLI).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.alternatives.judged_sets import load_judged_set
from domain_embed_pipeline.alternatives.latency import measure_latency_ms
from domain_embed_pipeline.alternatives.named_models import open_named_model
from domain_embed_pipeline.evaluation.evaluate import EvaluationSettings, evaluate_bm25, evaluate_model
from domain_embed_pipeline.evaluation.fusion import DENSE, SPARSE
from domain_embed_pipeline.evaluation.records import METRICS, MetricMean, QueryResult, RetrievalMode
from domain_embed_pipeline.evaluation.statistics import mean_intervals
from domain_embed_pipeline.pairs.evaluation_sets import HELD_OUT
from domain_embed_pipeline.records import Corpus, EvaluationSet, Split
from domain_embed_pipeline.registry.versions import ModelRegistry

BM25 = "bm25"
"""The name under which BM25 alone is measured like a model."""


@dataclass(frozen=True, slots=True)
class StandaloneResult:
    """What a model does on a set."""

    model: str
    encoder_fingerprint: str
    """Empty for BM25."""
    on: str
    split: str
    corpus_version: str
    evaluation_set_version: str
    query_count: int
    chunk_count: int
    mode: RetrievalMode
    metrics: tuple[MetricMean, ...]
    """In `mode`."""
    dense_metrics: tuple[MetricMean, ...]
    """By vectors alone; empty for BM25."""
    latency_ms: float
    """Median of one query from text to vector; 0 for BM25."""
    tokens_sent: int
    dollars: float
    """What an endpoint charged for tokens that no cache had."""


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """How a model is measured outside a run."""

    split: Split = "test"
    mode: Literal["auto", "dense"] = "dense"
    """`auto` chooses on the dev queries as a run does; it needs `qrels/dev.tsv`."""
    language: str = "english"
    """Of BM25."""
    api_key: str = ""
    price: float | None = None
    """Dollars per million tokens of an endpoint; the list price when None."""


def evaluate_named_model(
    name: str, folder: str, registry: ModelRegistry, *, settings: StandaloneSettings | None = None
) -> StandaloneResult:
    """Score a model, or BM25, on a folder in BEIR layout.

    Args:
        name: As for `open_named_model`, or `bm25`.
        folder: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`.
        registry: Holds versions and vectors; nothing is encoded twice.
        settings: Split, retrieval mode, key and price.

    Raises:
        ModelError: If nobody has the model.
        CorpusError: If the corpus is unreadable.
        EvaluationSetError: If queries or judgments are unusable.
        EvaluationError: If the split has no query, or an endpoint does not answer.
    """
    settings = settings or StandaloneSettings()
    needed_splits = HELD_OUT if settings.mode == "auto" else (settings.split,)
    corpus, queries = load_judged_set(folder, needed_splits=needed_splits)
    mode = None if settings.mode == "auto" else DENSE
    evaluating, clusters = EvaluationSettings(language=settings.language, mode=mode), _documents(corpus)
    if name.lower() == BM25:
        rows = evaluate_bm25(
            corpus=corpus, evaluation_set=queries, split=settings.split, clusters=clusters, settings=evaluating
        )
        return _result(_Measured(BM25, "", SPARSE, rows), folder, corpus, queries, settings.split)
    with open_named_model(name, registry, api_key=settings.api_key, price=settings.price) as model:
        found = evaluate_model(
            model.encoder,
            corpus=corpus,
            evaluation_set=queries,
            split=settings.split,
            clusters=clusters,
            settings=evaluating,
        )
        texts = [query.text for query in queries.queries_of(settings.split)]
        measured = _Measured(
            name=model.encoder.spec.model_version,
            fingerprint=model.encoder.spec.fingerprint,
            mode=found.mode,
            rows=found.served_query_results,
            dense_rows=found.query_results,
            latency_ms=measure_latency_ms(model.load_uncached(), texts),
            tokens_sent=model.tokens_sent,
            dollars=model.tokens_sent * (model.dollars_per_million_tokens or 0.0) / 1e6,
        )
        return _result(measured, folder, corpus, queries, settings.split)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was found out about a model; BM25 has no vectors, and costs nothing."""

    name: str
    fingerprint: str
    mode: RetrievalMode
    rows: tuple[QueryResult, ...]
    dense_rows: tuple[QueryResult, ...] = ()
    latency_ms: float = 0.0
    tokens_sent: int = 0
    dollars: float = 0.0


def _result(measured: _Measured, folder: str, corpus: Corpus, queries: EvaluationSet, split: Split) -> StandaloneResult:
    return StandaloneResult(
        model=measured.name,
        encoder_fingerprint=measured.fingerprint,
        on=folder,
        split=split,
        corpus_version=corpus.corpus_version,
        evaluation_set_version=queries.evaluation_set_version,
        query_count=len(measured.rows),
        chunk_count=len(corpus.chunks),
        mode=measured.mode,
        metrics=mean_intervals(measured.rows, METRICS),
        dense_metrics=mean_intervals(measured.dense_rows, METRICS) if measured.dense_rows else (),
        latency_ms=measured.latency_ms,
        tokens_sent=measured.tokens_sent,
        dollars=measured.dollars,
    )


def _documents(corpus: Corpus) -> dict[str, str]:
    """Chunk id to document: queries that one document answers rise and fall together."""
    return {chunk.chunk_id: chunk.document_id for chunk in corpus.chunks}
