"""Should one fine-tune at all? The alternatives side by side, with speed, size and price, and one advice.

What belongs here: the table, the price model, the rules of the advice. What does not: measuring the alternatives
(`evaluate`), talking to a managed API (`api_encoder`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.records import (
    AlternativeKind,
    ComparatorResult,
    Comparison,
    Evaluation,
    QueryResult,
    ReferenceComparison,
    Verdict,
)
from domain_embed_pipeline.evaluation.statistics import ResamplingSettings, mean_intervals

_VECTOR_BYTES = 4
_GRAPH_BYTES = 128
"""HNSW links of a point at m = 16: 32 neighbours of 4 bytes on the lowest level."""
_TERM_BYTES = 8
"""Index and weight of a term in a sparse vector."""
LOW_RECALL = 0.70
"""Recall@5 under which fine-tuning is worth a try; above it little is left to gain."""
RERANKER_GAP = 0.15
"""Recall@10 minus Recall@1 from which sorting the first ten anew is worth a try."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What the user's system does in a month."""

    queries_per_month: int = 100_000
    tokens_per_query: int = 20
    new_chunks_per_month: int = 10_000
    tokens_per_chunk: int = 200
    machine_dollars_per_month: float = 60.0
    """Of the machine that would run an own model all month."""

    @property
    def tokens_per_month(self) -> int:
        """Tokens that are embedded in a month."""
        return self.queries_per_month * self.tokens_per_query + self.new_chunks_per_month * self.tokens_per_chunk


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to serve the queries, measured."""

    name: str
    kind: AlternativeKind
    rows: tuple[QueryResult, ...]
    latency_ms: float
    """Median milliseconds of work on one query before the index is searched, or on its results after: encoding,
    reranking, the way to an API and back. The search itself takes about as long for all of them."""
    dimension: int = 0
    """Of dense vectors; 0 without."""
    terms_per_chunk: float = 0.0
    """Mean number of distinct terms of the sparse vectors; 0 without."""
    dollars_per_million_tokens: float | None = None
    """Price of a managed API; None for what runs on an own machine."""


def comparator_table(
    alternatives: Sequence[Alternative], *, workload: Workload, settings: ResamplingSettings | None = None
) -> tuple[ComparatorResult, ...]:
    """Quality with interval, speed, size and price of each alternative, best Recall@5 first.

    An own model costs the machine, whatever the volume; BM25 alone costs nothing beside the index; an API costs its
    price per token for queries and new chunks.

    Raises:
        EvaluationError: If the alternatives were not measured on the same queries.
    """
    ids = [row.query_id for row in alternatives[0].rows] if alternatives else []
    for other in alternatives:
        if [row.query_id for row in other.rows] != ids:
            raise EvaluationError(
                f"{other.name!r} was measured on {len(other.rows)} queries that are not the {len(ids)} of "
                f"{alternatives[0].name!r}.",
                fix="Measure all alternatives on one split of one evaluation set.",
            )
    lines = [_line(alternative, workload, settings) for alternative in alternatives]
    return tuple(sorted(lines, key=lambda line: (-round(line.recall_at_5, 9), line.name)))


def alternatives_of(
    evaluation: Evaluation, *, tuned: bool, latency_ms: float, terms_per_chunk: float
) -> tuple[Alternative, ...]:
    """A model by vectors alone and, where its mode is another, as it would be served.

    Args:
        evaluation: Of the base or the fine-tuned model.
        tuned: Whether it is the fine-tuned one.
        latency_ms: `query_latency_ms` of it.
        terms_per_chunk: Mean number of distinct terms, for the size of the sparse index.
    """
    name = "fine-tuned model" if tuned else "base model"
    dimension = evaluation.encoder.dimension
    dense = Alternative(name, "tuned" if tuned else "base", evaluation.query_results, latency_ms, dimension)
    if evaluation.mode.kind != "hybrid":
        return (dense,)
    kind: AlternativeKind = "tuned_hybrid" if tuned else "base_hybrid"
    rows = evaluation.served_query_results
    return dense, Alternative(f"{name} + BM25", kind, rows, latency_ms, dimension, terms_per_chunk)


def query_latency_ms(
    answer: Callable[[str], object], texts: Sequence[str], *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median milliseconds that `answer` takes for one text, after one call that is not counted.

    Raises:
        EvaluationError: If there is no text.
    """
    if not texts:
        raise EvaluationError("Latency cannot be measured without a query.", fix="Pass a few queries.")
    answer(texts[0])
    times = []
    for text in texts:
        started = clock()
        answer(text)
        times.append(1000 * (clock() - started))
    return statistics.median(times)


def recommend(lines: Sequence[ComparatorResult], *, comparison: Comparison, workload: Workload) -> str:
    """One paragraph of advice by stated rules.

    1. Verdict better: serve the fine-tuned model; where it was not shown to be better than the base model over the same
       questions in the index, that is said. Else keep the base model, with BM25 beside it, or BM25 alone: the best.
    2. Another base model, a reranker or an API is advised when its Recall@5 lies above the whole interval of what is
       kept; an API with its price and the volume at which an own machine is cheaper.
    3. If no reranker was measured and what is kept finds a passage among ten but not first in at least 15 of 100 cases,
       a reranker is worth a try.
    4. If Recall@5 of what is kept is 70 % or more, little is left to gain by fine-tuning; below, more or better
       training questions are the next thing to try.

    Raises:
        EvaluationError: If there is nothing to choose from but fine-tuned models.
    """
    tuned = [line for line in lines if line.kind in ("tuned", "tuned_hybrid")]
    untuned = [line for line in lines if line.kind in ("bm25", "base", "base_hybrid")]
    if not untuned:
        raise EvaluationError(
            "There is no alternative to the fine-tuned model to advise on.", fix="Measure BM25 or the base model too."
        )
    kept = max(tuned if comparison.verdict == "better" and tuned else untuned, key=lambda line: line.recall_at_5)
    sentences = [_keep_sentence(kept, comparison.verdict)]
    if comparison.verdict == "better":
        sentences += _expansion_sentences(comparison.against_expanded_base)
    for kind, sentence_of in (("other", _other_sentence), ("api", _api_sentence)):
        found = [line for line in lines if line.kind == kind and line.recall_at_5 > kept.interval_high]
        if found:
            sentences.append(sentence_of(max(found, key=lambda line: line.recall_at_5), workload))
    sentences += _reranker_sentences(kept, [line for line in lines if line.kind == "reranker"])
    if kept not in tuned:
        sentences.append(_tuning_sentence(kept))
    return " ".join(sentences)


def break_even_tokens(workload: Workload, dollars_per_million_tokens: float) -> float:
    """Tokens a month from which an own machine is cheaper than the API."""
    return workload.machine_dollars_per_month / dollars_per_million_tokens * 1e6


def _line(alternative: Alternative, workload: Workload, settings: ResamplingSettings | None) -> ComparatorResult:
    one, five, ten, ndcg = mean_intervals(
        alternative.rows, ["recall_at_1", "recall_at_5", "recall_at_10", "ndcg_at_10"], settings=settings
    )
    dense_bytes = (alternative.dimension * _VECTOR_BYTES + _GRAPH_BYTES) if alternative.dimension else 0
    return ComparatorResult(
        name=alternative.name,
        kind=alternative.kind,
        recall_at_1=one.mean,
        recall_at_5=five.mean,
        interval_low=five.interval_low,
        interval_high=five.interval_high,
        recall_at_10=ten.mean,
        ndcg_at_10=ndcg.mean,
        latency_ms=alternative.latency_ms,
        index_bytes_per_million=1e6 * (dense_bytes + alternative.terms_per_chunk * _TERM_BYTES),
        dollars_per_month=_dollars_per_month(alternative, workload),
        dollars_per_million_tokens=alternative.dollars_per_million_tokens,
    )


def _dollars_per_month(alternative: Alternative, workload: Workload) -> float:
    if alternative.dollars_per_million_tokens is not None:
        return workload.tokens_per_month * alternative.dollars_per_million_tokens / 1e6
    return 0.0 if alternative.kind == "bm25" else workload.machine_dollars_per_month


def _keep_sentence(kept: ComparatorResult, verdict: Verdict) -> str:
    quality = f"Recall@5 {kept.recall_at_5:.3f}"
    if verdict == "better":
        return f"Fine-tune: the {kept.name} ({quality}) is better than the base model as it is."
    shown = "is worse" if verdict == "worse" else "was not shown to be better"
    if kept.kind == "bm25":
        return f"Use BM25 alone ({quality}): fine-tuning {shown}, and no model that was tried does better."
    return f"Keep the {kept.name} ({quality}): fine-tuning {shown}."


def _expansion_sentences(against: ReferenceComparison | None) -> list[str]:
    if against is None or against.verdict == "better":
        return []
    return ["The questions in the index bring the gain; training was not shown to add to it."]


def _other_sentence(other: ComparatorResult, workload: Workload) -> str:
    return f"The model {other.name} finds more as it is (Recall@5 {other.recall_at_5:.3f}): make it the base model."


def _reranker_sentences(kept: ComparatorResult, measured: Sequence[ComparatorResult]) -> list[str]:
    if measured:
        best = max(measured, key=lambda line: line.recall_at_5)
        figures = f"Recall@5 {best.recall_at_5:.3f}, {best.latency_ms:,.0f} ms a query"
        if best.recall_at_5 > kept.interval_high:
            return [f"Add the reranker: {best.name} finds more ({figures})."]
        return [f"The reranker was not shown to find more ({figures})."]
    if kept.recall_at_10 - kept.recall_at_1 < RERANKER_GAP:
        return []
    return [
        f"A reranker is worth a try: {kept.recall_at_10:.0%} of the right passages are among the first ten but only "
        f"{kept.recall_at_1:.0%} come first."
    ]


def _api_sentence(api: ComparatorResult, workload: Workload) -> str:
    price = api.dollars_per_million_tokens or 0.0
    sentence = f"The API {api.name} finds more (Recall@5 {api.recall_at_5:.3f})"
    if price <= 0:
        return f"{sentence}."
    volume = break_even_tokens(workload, price) / 1e6
    return (
        f"{sentence} for ${api.dollars_per_month:,.2f} a month at {workload.tokens_per_month / 1e6:,.0f}M tokens; an "
        f"own machine is cheaper from {volume:,.0f}M tokens a month. Pay for it if your documents may leave the house."
    )


def _tuning_sentence(kept: ComparatorResult) -> str:
    if kept.recall_at_5 >= LOW_RECALL:
        return f"Little is left to gain by fine-tuning: Recall@5 is {LOW_RECALL:.0%} or more already."
    return (
        f"Recall@5 is under {LOW_RECALL:.0%}, so fine-tuning may still pay: the next thing to try is more and better "
        "questions per chunk."
    )
