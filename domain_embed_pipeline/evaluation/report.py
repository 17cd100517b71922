"""One self-contained HTML page per comparison: the verdict, the figures behind it, and queries to judge by eye.

What belongs here: picking what is shown and rendering `report.html.j2`. What does not: any figure that the comparison
does not hold already, apart from means with intervals; pictures (`charts`); wording of single figures (`words`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.evaluation.charts import Bar, Curve, curve_chart, interval_chart
from domain_embed_pipeline.evaluation.records import (
    RECALL_KS,
    Comparison,
    Evaluation,
    MetricDifference,
    QueryResult,
    ReferenceComparison,
)
from domain_embed_pipeline.evaluation.statistics import mean_intervals
from domain_embed_pipeline.evaluation.vocabulary import NearestTerms
from domain_embed_pipeline.evaluation.words import VERDICT_TITLES, headline, metric_name, mode_name
from domain_embed_pipeline.records import Chunk

_METRICS = (*(f"recall_at_{k}" for k in RECALL_KS), "mrr_at_10", "ndcg_at_10")
_EXAMPLES = 10
_SHOWN_CHUNKS = 3
_SNIPPET = 180
_NAMES = {"base": "Base model", "candidate": "Fine-tuned model", "serving": "Live now"}


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything on the page. What is left empty leaves its section out."""

    comparison: Comparison
    candidate: Evaluation
    base: Evaluation
    serving: Evaluation | None = None
    chunks: Mapping[str, Chunk] = field(default_factory=dict)
    """Chunk id to chunk, for titles and snippets."""
    title: str = "Is the fine-tuned model better?"
    certificate: Mapping[str, Any] = field(default_factory=dict)
    """Lines of the leakage certificate, name to value; likewise the next three."""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    """Alternatives that could not be measured, with the reason."""
    vocabulary: Sequence[NearestTerms] = ()


def write_report(inputs: ReportInputs, path: str | Location) -> None:
    """Render to a file; `path` may be any fsspec URL."""
    Location(path).write_text(render_report(inputs))


def render_report(inputs: ReportInputs) -> str:
    """The page as a string: style and pictures are inline and nothing is loaded from elsewhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("domain_embed_pipeline.evaluation", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"metric_name": metric_name, "mode_name": mode_name}
    comparison = inputs.comparison
    improved, worsened = changed_queries(inputs.candidate, inputs.base)
    return environment.get_template("report.html.j2").render(
        inputs=inputs,
        comparison=comparison,
        verdict_title=VERDICT_TITLES[comparison.verdict],
        headline=headline(comparison),
        pictures=_pictures(inputs),
        balances=_balances(comparison),
        improved=[_example(inputs, *pair) for pair in improved],
        worsened=[_example(inputs, *pair) for pair in worsened],
        curves=[(curve.name, curve_chart(curve, title=curve.name)) for curve in inputs.curves],
        facts=_facts(inputs),
    )


def changed_queries(
    candidate: Evaluation, reference: Evaluation, *, count: int = _EXAMPLES
) -> tuple[list[tuple[QueryResult, QueryResult]], list[tuple[QueryResult, QueryResult]]]:
    """Queries that changed most as served, by nDCG@10: (improved, worsened), each as (before, after), most first."""
    pairs = list(zip(reference.served_query_results, candidate.served_query_results, strict=True))

    def change(pair: tuple[QueryResult, QueryResult]) -> float:
        """nDCG@10 after, less before."""
        return pair[1].ndcg_at_10 - pair[0].ndcg_at_10

    improved = sorted((pair for pair in pairs if change(pair) > 0), key=lambda pair: (-change(pair), pair[0].query_id))
    worsened = sorted((pair for pair in pairs if change(pair) < 0), key=lambda pair: (change(pair), pair[0].query_id))
    return improved[:count], worsened[:count]


def _pictures(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Recall@k as served, and by vectors alone, each as picture and table."""
    series = [("base", inputs.base), ("candidate", inputs.candidate)]
    if inputs.serving:
        series.append(("serving", inputs.serving))
    pictures = []
    for name, attribute in (("As served", "served_query_results"), ("By vectors alone", "query_results")):
        means = {key: mean_intervals(getattr(evaluation, attribute), _METRICS) for key, evaluation in series}
        groups = [
            (
                metric_name(metric),
                [
                    Bar(key, _NAMES[key], values[place].mean, values[place].interval_low, values[place].interval_high)
                    for key, values in means.items()
                ],
            )
            for place, metric in enumerate(_METRICS[: len(RECALL_KS)])
        ]
        pictures.append(
            {
                "name": name,
                "svg": interval_chart(groups, title=f"{name}: recall with 95% intervals"),
                "rows": [(_NAMES[key], values) for key, values in means.items()],
                "modes": [
                    (_NAMES[key], mode_name(evaluation.mode) if name == "As served" else "vectors")
                    for key, evaluation in series
                ],
            }
        )
    return pictures


def _balances(comparison: Comparison) -> list[dict[str, Any]]:
    """Share of queries better, equal and worse, against each reference."""
    references: list[tuple[str, ReferenceComparison | None]] = [
        ("Against the base model", comparison.against_base),
        ("Against the base model with the same questions in the index", comparison.against_expanded_base),
        ("Against what is live", comparison.against_serving),
        ("By vectors alone, against the base model", comparison.dense_against_base),
    ]
    return [
        {"name": name, "primary": _primary(reference, comparison), "reference": reference}
        for name, reference in references
        if reference
    ]


def _primary(reference: ReferenceComparison, comparison: Comparison) -> MetricDifference:
    return next(item for item in reference.differences if item.metric == comparison.primary_metric)


def _example(inputs: ReportInputs, before: QueryResult, after: QueryResult) -> dict[str, Any]:
    return {
        "text": before.text,
        "before": _shown(inputs, before),
        "after": _shown(inputs, after),
        "rank_before": _first_rank(before),
        "rank_after": _first_rank(after),
    }


def _shown(inputs: ReportInputs, row: QueryResult) -> list[dict[str, Any]]:
    shown = []
    for chunk_id in row.retrieved[:_SHOWN_CHUNKS]:
        chunk = inputs.chunks.get(chunk_id)
        text = " ".join(chunk.text.split()) if chunk else ""
        shown.append(
            {
                "title": chunk.title or chunk.document_id if chunk else chunk_id,
                "snippet": text if len(text) <= _SNIPPET else text[:_SNIPPET].rsplit(" ", 1)[0] + " …",
                "relevant": chunk_id in row.relevant,
            }
        )
    return shown


def _first_rank(row: QueryResult) -> str:
    ranks = (rank for rank, chunk_id in enumerate(row.retrieved, start=1) if chunk_id in row.relevant)
    first = next(ranks, None)
    return f"place {first}" if first else "not among the first ten"


def _facts(inputs: ReportInputs) -> list[tuple[str, Mapping[str, Any]]]:
    """Tables of names and values at the end of the page."""
    comparison = inputs.comparison
    measured = {
        "Queries": comparison.query_count,
        "Independent groups of documents": comparison.cluster_count,
        "Split": inputs.candidate.split,
        "Corpus version": comparison.corpus_version,
        "Evaluation set version": comparison.evaluation_set_version,
        "Candidate": f"{comparison.candidate_model_version}, {mode_name(comparison.candidate_mode)}",
        "Base": f"{inputs.base.model_version}, {mode_name(inputs.base.mode)}",
        "Encoder fingerprint of the candidate": inputs.candidate.encoder.fingerprint,
        "Encoder fingerprint of the base": inputs.base.encoder.fingerprint,
        "Primary metric": metric_name(comparison.primary_metric),
    }
    if inputs.serving:
        measured["Live"] = f"{inputs.serving.model_version}, {mode_name(inputs.serving.mode)}"
    certificate = {
        "Passed": "yes" if comparison.certificate_passed else "NO",
        "Digest": comparison.certificate_digest,
        **inputs.certificate,
    }
    tables = [
        ("What was measured", measured),
        ("Leakage certificate", certificate),
        ("Lineage", inputs.lineage),
        ("Settings", inputs.settings),
        ("Cost", inputs.cost),
    ]
    return [(name, values) for name, values in tables if values]
