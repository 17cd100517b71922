"""The alternatives to fine-tuning, measured on the test queries of a run: BM25, other models, endpoints, a reranker.

What belongs here: one measured line per alternative. What does not: the table with prices and the advice
(`evaluation.comparators`), base and fine-tuned model, which the run measures anyway.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domain_embed_pipeline.alternatives.latency import measure_latency_ms, remembered_latency_ms
from domain_embed_pipeline.alternatives.named_models import is_endpoint, load_version, open_named_model
from domain_embed_pipeline.alternatives.rerankers import Reranker
from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseSpec
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.evaluation.comparators import Alternative, query_latency_ms
from domain_embed_pipeline.evaluation.evaluate import (
    EvaluationSettings,
    evaluate_bm25,
    evaluate_model,
    measure_rankings,
    served_rankings,
)
from domain_embed_pipeline.evaluation.fusion import DENSE
from domain_embed_pipeline.evaluation.records import AlternativeKind, Evaluation, QueryResult
from domain_embed_pipeline.evaluation.reranking import rerank
from domain_embed_pipeline.records import Corpus, EvaluationSet
from domain_embed_pipeline.registry.versions import ModelRegistry

logger = logging.getLogger(__name__)

RERANKED = 30
"""Chunks per query that a reranker reads: more find little and cost time in proportion."""
_TERMS_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class AlternativeLine:
    """A measured alternative without its per-query results."""

    name: str
    kind: AlternativeKind
    latency_ms: float
    dimension: int
    terms_per_chunk: float
    dollars_per_million_tokens: float | None
    tokens_sent: int
    """What an endpoint charged for in this run; cached vectors cost nothing."""


@dataclass(frozen=True, slots=True)
class AlternativeProblem:
    """An alternative that could not be measured, and why. The run goes on without it."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class MeasuredAlternatives:
    """Everything that was measured beside base and fine-tuned model."""

    evaluation_set_version: str
    lines: tuple[AlternativeLine, ...]
    rows: tuple[QueryResult, ...]
    """Of all lines, one after the other, each with every test query."""
    problems: tuple[AlternativeProblem, ...]
    terms_per_chunk: float

    def alternatives(self) -> tuple[Alternative, ...]:
        """Each line with its own per-query results."""
        size = len(self.rows) // max(1, len(self.lines))
        return tuple(
            Alternative(
                line.name,
                line.kind,
                self.rows[place * size : (place + 1) * size],
                line.latency_ms,
                line.dimension,
                line.terms_per_chunk,
                line.dollars_per_million_tokens,
            )
            for place, line in enumerate(self.lines)
        )


@dataclass(frozen=True, slots=True)
class AlternativeSettings:
    """What is measured."""

    models: tuple[str, ...] = ()
    """Names as for `open_named_model`."""
    reranker: str | None = None
    api_key: str = ""
    language: str = "english"
    """Of BM25."""


Measurement = tuple[AlternativeLine, tuple[QueryResult, ...]]
"""One alternative with the results of every test query."""


@dataclass(frozen=True)
class AlternativeInputs:
    """What all measurements share."""

    registry: ModelRegistry
    """Holds models and vectors."""
    base: Evaluation
    """The base model as it would be served; a reranker sorts its first results anew."""
    corpus: Corpus
    """Chunks as they are."""
    evaluation_set: EvaluationSet
    clusters: Mapping[str, str]
    """As for `evaluate_model`."""
    latencies: Path
    """Folder of times that were measured before."""
    settings: AlternativeSettings = field(default_factory=AlternativeSettings)
    """What is measured; BM25 is in any case."""

    @property
    def texts(self) -> list[str]:
        """The test queries."""
        return [query.text for query in self.evaluation_set.queries_of("test")]

    @functools.cached_property
    def terms_per_chunk(self) -> float:
        """Mean number of distinct terms, from chunks of the whole length of the corpus."""
        chunks = self.corpus.chunks[:: max(1, len(self.corpus.chunks) // _TERMS_SAMPLE)]
        encoder = SparseEncoder(SparseSpec(language=self.settings.language))
        vectors = encoder.encode_queries([chunk.embedding_text for chunk in chunks])
        return sum(len(vector.indices) for vector in vectors) / len(vectors)


def measure_alternatives(inputs: AlternativeInputs) -> MeasuredAlternatives:
    """Measure what the user named on the test queries of a run; one that fails is listed with its reason."""
    lines, rows, problems = [], [], []
    for name, measure in _measurements(inputs).items():
        try:
            line, found = measure()
        except DomainEmbedError as error:
            logger.warning("The alternative %s could not be measured: %s", name, error)
            problems.append(AlternativeProblem(name, str(error)))
        else:
            lines.append(line)
            rows += found
    version = inputs.evaluation_set.evaluation_set_version
    return MeasuredAlternatives(version, tuple(lines), tuple(rows), tuple(problems), inputs.terms_per_chunk)


def _measurements(inputs: AlternativeInputs) -> dict[str, Callable[[], Measurement]]:
    """By name, in the order in which they are shown."""
    settings = inputs.settings
    measurements: dict[str, Callable[[], Measurement]] = {"BM25": functools.partial(_bm25, inputs)}
    measurements |= {name: functools.partial(_model, inputs, name) for name in settings.models}
    if settings.reranker:
        measurements[settings.reranker] = functools.partial(_reranked, inputs)
    return measurements


def version_latency_ms(registry: ModelRegistry, model_version: str, texts: Sequence[str], folder: Path) -> float:
    """Milliseconds that a model version takes to encode one query, measured once on this machine."""
    fingerprint = registry.manifest(model_version).encoder.fingerprint
    return remembered_latency_ms(
        folder, fingerprint, lambda: measure_latency_ms(load_version(registry, model_version), texts)
    )


def _bm25(inputs: AlternativeInputs) -> Measurement:
    """BM25 alone; its work on a query is splitting it into terms."""
    encoder = SparseEncoder(SparseSpec(language=inputs.settings.language))
    rows = evaluate_bm25(
        corpus=inputs.corpus,
        evaluation_set=inputs.evaluation_set,
        split="test",
        clusters=inputs.clusters,
        settings=EvaluationSettings(language=inputs.settings.language),
    )
    latency = query_latency_ms(lambda text: encoder.encode_queries([text]), inputs.texts[:15])
    return AlternativeLine("BM25", "bm25", latency, 0, inputs.terms_per_chunk, None, 0), rows


def _model(inputs: AlternativeInputs, name: str) -> Measurement:
    """Another base model or an endpoint, by vectors alone."""
    with open_named_model(name, inputs.registry, api_key=inputs.settings.api_key) as model:
        found = evaluate_model(
            model.encoder,
            corpus=inputs.corpus,
            evaluation_set=inputs.evaluation_set,
            split="test",
            clusters=inputs.clusters,
            settings=EvaluationSettings(mode=DENSE),
        )
        spec = model.encoder.spec
        latency = remembered_latency_ms(
            inputs.latencies, spec.fingerprint, lambda: measure_latency_ms(model.load_uncached(), inputs.texts)
        )
        line = AlternativeLine(
            name=model.name,
            kind="api" if is_endpoint(name) else "other",
            latency_ms=latency,
            dimension=spec.dimension,
            terms_per_chunk=0.0,
            dollars_per_million_tokens=model.dollars_per_million_tokens,
            tokens_sent=model.tokens_sent,
        )
    return line, found.query_results


def _reranked(inputs: AlternativeInputs) -> Measurement:
    """The base model's first results, sorted anew by a cross-encoder."""
    reranker = Reranker(inputs.settings.reranker or "")
    queries = inputs.evaluation_set.queries_of("test")
    texts = {chunk.chunk_id: chunk.embedding_text for chunk in inputs.corpus.chunks}
    encoder = inputs.registry.encoder(inputs.base.model_version)
    evaluating = EvaluationSettings(language=inputs.settings.language)
    before = served_rankings(encoder, corpus=inputs.corpus, queries=queries, mode=inputs.base.mode, settings=evaluating)
    after = rerank(before, inputs.texts, texts=texts, score=reranker.score, depth=RERANKED)
    rows = measure_rankings(
        after, queries=queries, relevant=inputs.evaluation_set.relevant_chunks(), clusters=inputs.clusters
    )
    passages = [texts[chunk_id] for chunk_id in before[0].chunk_ids[:RERANKED]]
    latency = query_latency_ms(
        lambda text: reranker.score([(text, passage) for passage in passages]), inputs.texts[:5]
    ) + version_latency_ms(inputs.registry, inputs.base.model_version, inputs.texts, inputs.latencies)
    name = f"base model + reranker {reranker.name}"
    dimension = inputs.base.encoder.dimension
    terms = inputs.terms_per_chunk if inputs.base.mode.kind == "hybrid" else 0.0
    return AlternativeLine(name, "reranker", latency, dimension, terms, None, 0), rows
