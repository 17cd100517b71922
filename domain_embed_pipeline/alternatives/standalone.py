"""One model on one judged set, outside a pipeline run.

What belongs here: the measurement behind `domain-embed evaluate`. What does not: how it is printed (the CLI).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.alternatives.judged_sets import load_judged_set
from domain_embed_pipeline.alternatives.latency import measure_latency_ms
from domain_embed_pipeline.alternatives.named_models import NamedModel, open_named_model
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
    evaluating, clusters = EvaluationSettings(language=settings.language), _documents(corpus)
    if name.lower() == BM25:
        rows = evaluate_bm25(
            corpus=corpus, evaluation_set=queries, split=settings.split, clusters=clusters, settings=evaluating
        )
        described = _Described(BM25, "", SPARSE, rows, ())
        return _result(described, folder, corpus, queries, settings)
    with open_named_model(name, registry, api_key=settings.api_key, price=settings.price) as model:
        found = evaluate_model(
            model.encoder,
            corpus=corpus,
            evaluation_set=queries,
            split=settings.split,
            clusters=clusters,
            mode=None if settings.mode == "auto" else DENSE,
            settings=evaluating,
        )
        described = _Described(
            model.encoder.spec.model_version,
            model.encoder.spec.fingerprint,
            found.mode,
            found.served_query_results,
            found.query_results,
        )
        texts = [query.text for query in queries.queries_of(settings.split)]
        latency = measure_latency_ms(model.load_uncached(), texts)
        return _result(described, folder, corpus, queries, settings, model=model, latency_ms=latency)


@dataclass(frozen=True, slots=True)
class _Described:
    name: str
    fingerprint: str
    mode: RetrievalMode
    rows: tuple[QueryResult, ...]
    dense_rows: tuple[QueryResult, ...]


def _result(
    described: _Described,
    folder: str,
    corpus: Corpus,
    queries: EvaluationSet,
    settings: StandaloneSettings,
    *,
    model: NamedModel | None = None,
    latency_ms: float = 0.0,
) -> StandaloneResult:
    price = (model.dollars_per_million_tokens if model else None) or 0.0
    tokens = model.tokens_sent if model else 0
    return StandaloneResult(
        model=described.name,
        encoder_fingerprint=described.fingerprint,
        on=folder,
        split=settings.split,
        corpus_version=corpus.corpus_version,
        evaluation_set_version=queries.evaluation_set_version,
        query_count=len(described.rows),
        chunk_count=len(corpus.chunks),
        mode=described.mode,
        metrics=mean_intervals(described.rows, METRICS),
        dense_metrics=mean_intervals(described.dense_rows, METRICS) if described.dense_rows else (),
        latency_ms=latency_ms,
        tokens_sent=tokens,
        dollars=tokens * price / 1e6,
    )


def _documents(corpus: Corpus) -> dict[str, str]:
    """Chunk id to document: queries that one document answers rise and fall together."""
    return {chunk.chunk_id: chunk.document_id for chunk in corpus.chunks}
