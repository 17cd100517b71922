"""Library results as asset metadata: the only place where metadata keys are spelled.

Numbers stay numbers under stable keys, so that the UI plots them over time; the keys of a measure are the field names
of `QueryResult` (`recall_at_5`, ...). Values are cast here, because numpy scalars cannot be stored.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from domain_embed_pipeline.alternatives.measuring import MeasuredAlternatives
from domain_embed_pipeline.drops.releasing import CaughtUpRelease
from domain_embed_pipeline.evaluation.records import METRICS, Comparison, Evaluation, QueryResult, ReferenceComparison
from domain_embed_pipeline.pairs.evaluation_sets import minimum_detectable_effect
from domain_embed_pipeline.pairs.records import StructuralPairs, TrainingPairs
from domain_embed_pipeline.questions.generation import GeneratedQuestions
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet
from domain_embed_pipeline.registry.versions import HistoryPoint, ModelRegistry, ModelVersion
from domain_embed_pipeline.serving.live import ServingEvaluation
from domain_embed_pipeline.serving.records import AliasSwap, ServingCollection
from domain_embed_pipeline.training.negatives import HardNegatives
from domain_embed_pipeline.training.stages import CandidateResult

Metadata = dict[str, Any]
SAMPLE_ROWS = 8


def table(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    """Rows as a table of the UI; a line of text when there are none."""
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records) if records else "none"


def _cell(value: Any) -> Any:
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 4)
    return str(value)[:300]


def counts_by(values: Iterable[str]) -> list[dict[str, Any]]:
    """`value`, `count` rows, most frequent first."""
    totals: dict[str, int] = {}
    for value in values:
        totals[value] = totals.get(value, 0) + 1
    return [{"value": value, "count": count} for value, count in sorted(totals.items(), key=lambda item: -item[1])]


def of_corpus(corpus: Corpus) -> Metadata:
    """Counts, sample chunks and the quarantine."""
    lengths = sorted(chunk.token_count for chunk in corpus.chunks)
    return {
        "corpus_version": corpus.corpus_version,
        "document_count": len(corpus.documents),
        "chunk_count": len(corpus.chunks),
        "duplicate_count": corpus.duplicate_count,
        "quarantine_count": len(corpus.quarantine),
        "token_count": sum(lengths),
        "median_chunk_tokens": lengths[len(lengths) // 2],
        "longest_chunk_tokens": lengths[-1],
        "media_types": table(counts_by(document.media_type for document in corpus.documents)),
        "quarantine": table(
            {"document": row.document_id, "reason": row.reason, "detail": row.detail} for row in corpus.quarantine[:100]
        ),
        "sample_chunks": table(
            {"title": chunk.title, "text": chunk.text, "document": chunk.document_id, "tokens": chunk.token_count}
            for chunk in _spread(corpus.chunks)
        ),
    }


def of_splits(splits: DocumentSplits) -> Metadata:
    """Sizes of the sides and of the clusters."""
    documents, chunks = len(splits.documents), len(splits.chunk_clusters)
    sides = {side: sum(row.split == side for row in splits.documents) for side in ("train", "dev", "test")}
    return {
        "splits_version": splits.splits_version,
        "corpus_version": splits.corpus_version,
        "holds_out_documents": splits.holds_out,
        **{f"{side}_document_count": count for side, count in sides.items()},
        "near_duplicate_documents": documents - len({row.cluster_id for row in splits.documents}),
        "near_duplicate_chunks": chunks - len({row.cluster_id for row in splits.chunk_clusters}),
    }


def of_questions(questions: GeneratedQuestions) -> Metadata:
    """Counts, money, refusals and samples."""
    return {
        "questions_version": questions.questions_version,
        "question_count": len(questions.questions),
        "chunk_count": questions.chunks,
        "answered_from_ledger": questions.answered_from_ledger,
        "asked": questions.asked,
        "refused": questions.refused,
        "unanswered": questions.unanswered,
        "input_tokens": questions.input_tokens,
        "output_tokens": questions.output_tokens,
        "cache_hits": questions.cache_hits,
        "cost_usd": float(questions.cost_usd),
        "ledger_cost_usd": float(questions.ledger_cost_usd),
        "cost_per_1000_questions_usd": float(questions.cost_per_1000_questions),
        "keep_rate": float(questions.keep_rate),
        "stopped_reason": questions.stopped_reason or "every chunk was asked about",
        "waits_for_batches": questions.waits_for_batches,
        "duration_s": float(questions.duration_s),
        "styles": table(counts_by(question.style for question in questions.questions)),
        "refusals": table(
            {"chunk": row.chunk_id, "document": row.document_id, "reason": row.reason, "detail": row.detail}
            for row in questions.refusals[:100]
        ),
        "sample_questions": table(
            {"style": question.style, "question": question.text, "chunk": question.chunk_id}
            for question in _spread(questions.questions)
        ),
    }


def of_structural_pairs(pairs: StructuralPairs) -> Metadata:
    """Counts per source and samples."""
    return {
        "pair_count": len(pairs.pairs),
        "sources": table({"source": row.source, "kept": row.kept, "capped": row.rejected} for row in pairs.counts),
        "sample_pairs": table(
            {"source": pair.source, "anchor": pair.anchor, "positive": pair.positive} for pair in _spread(pairs.pairs)
        ),
    }


def of_evaluation_set(queries: EvaluationSet) -> Metadata:
    """Sizes, what the sizes can show, lost queries and samples."""
    dev, test = queries.queries_of("dev"), queries.queries_of("test")
    texts = {query.query_id: query.text for query in queries.queries}
    return {
        "evaluation_set_version": queries.evaluation_set_version,
        "corpus_version": queries.corpus_version,
        "origin": queries.origin,
        "dev_query_count": len(dev),
        "test_query_count": len(test),
        "judgment_count": len(queries.qrels),
        "lost_query_count": len(queries.lost_queries),
        "minimum_detectable_effect": float(minimum_detectable_effect(len(test))) if test else 1.0,
        "lost_queries": table({"query": row.text, "why": row.detail} for row in queries.lost_queries[:50]),
        "sample_queries": table(
            {"query": texts[row.query_id], "relevant_chunk": row.chunk_id} for row in _spread(queries.qrels)
        ),
    }


def of_training_pairs(pairs: TrainingPairs, questions_cost_usd: float) -> Metadata:
    """The mix, what was dropped and why, the leakage certificate, and what an accepted question pair cost."""
    certificate = pairs.certificate
    accepted = sum(row.kept for row in pairs.mix if row.source == "question")
    return {
        "pairs_version": pairs.pairs_version,
        "pair_count": len(pairs.pairs),
        "rejected_count": len(pairs.rejected),
        "cost_per_1000_accepted_pairs_usd": float(1000 * questions_cost_usd / accepted) if accepted else 0.0,
        "leakage_passed": certificate.passed,
        "leaks_removed": sum(row.removed for row in certificate.detectors),
        "leaks_remaining": sum(row.remaining for row in certificate.detectors),
        "mix": table(
            {"source": row.source, "candidates": row.candidates, "kept": row.kept, "share": row.share}
            for row in pairs.mix
        ),
        "drops": table({"reason": row.reason, "count": row.count} for row in pairs.drops),
        "dropped_samples": table(
            {"reason": row.reason, "detail": row.detail, "source": row.source, "anchor": row.anchor}
            for row in pairs.drop_samples()
        ),
        "leakage_certificate": table(
            {"detector": row.detector, "ran": row.ran, "found": row.found, "removed": row.removed,
             "remaining": row.remaining}
            for row in certificate.detectors
        ),
        "leak_samples": table(
            {"detector": leak.detector, "similarity": leak.similarity, "anchor": leak.anchor, "query": leak.query}
            for leak in certificate.samples
        ),
        "sample_pairs": table(
            {"source": pair.source, "style": pair.style, "anchor": pair.anchor, "positive": pair.positive}
            for pair in _spread(pairs.pairs)
        ),
    }  # fmt: skip


def of_model(version: ModelVersion) -> Metadata:
    """What was trained, from what, with what curve."""
    settings = version.settings
    return {
        "model_version": version.model_version,
        "parent_model_version": version.parent_model_version or "none",
        "kind": version.kind,
        "base_model": version.base_model,
        "row_count": version.row_count,
        "learning_rate": float(settings.get("learning_rate") or 0.0),
        "total_steps": int(settings.get("total_steps") or 0),
        "best_step": int(settings.get("best_step") or 0),
        "training_duration_s": float(version.duration_s),
        **{f"dev_{name}": float(value) for name, value in version.dev_metrics.items()},
        "curves": dg.MetadataValue.md(_curves(version.history)) if version.history else "none",
    }


def of_negatives(negatives: HardNegatives) -> Metadata:
    """How many, how hard, what each guard excluded, samples."""
    return {
        "negatives_version": negatives.negatives_version,
        "model_version": negatives.model_version,
        "negative_count": len(negatives.negatives),
        "anchor_count": negatives.anchor_count,
        "anchors_without_negative": negatives.anchors_without_negative,
        "positive_score_median": float(negatives.positive_score_median),
        "negative_score_median": float(negatives.negative_score_median),
        "negative_score_p95": float(negatives.negative_score_p95),
        "excluded": table({"guard": row.guard, "count": row.count} for row in negatives.excluded),
        "sample_negatives": table(
            {"anchor": row.anchor, "positive": row.positive, "negative": row.negative, "rank": row.rank}
            for row in _spread(negatives.negatives)
        ),
    }


def of_candidate(candidate: CandidateResult, registry: ModelRegistry) -> Metadata:
    """Which contender won on dev, and its lineage."""
    version = candidate.version
    return of_model(version) | {
        "reason": candidate.reason,
        "lineage": " < ".join([version.model_version, *registry.parents(version.model_version)]),
        "contenders": table(
            {"model_version": row.model_version, "kind": row.kind, "dev_recall_at_5": row.dev_recall_at_5,
             "dev_ndcg_at_10": row.dev_ndcg_at_10, "guard_ndcg_at_10": row.guard_ndcg_at_10 or "",
             "behind_best": row.difference_from_best,
             "standard_error": row.standard_error, "chosen": row.chosen}
            for row in candidate.contenders
        ),
    }  # fmt: skip


def means(results: Sequence[QueryResult]) -> dict[str, float]:
    """Mean of each measure over queries."""
    return {name: sum(getattr(row, name) for row in results) / len(results) for name in METRICS}


def of_evaluation(evaluation: Evaluation, parent_model_version: str | None) -> Metadata:
    """Dense measures as the headline, and those of the mode that would be served."""
    served = {f"served_{name}": value for name, value in means(evaluation.served_query_results).items()}
    return {
        **means(evaluation.query_results),
        **served,
        "model_version": evaluation.model_version,
        "parent_model_version": parent_model_version or "none",
        "corpus_version": evaluation.corpus_version,
        "evaluation_set_version": evaluation.evaluation_set_version,
        "query_count": len(evaluation.query_results),
        "retrieval_mode": evaluation.mode.kind,
        "fusion": evaluation.mode.fusion,
        "sparse_weight": float(evaluation.mode.sparse_weight),
        "evaluation_duration_s": float(evaluation.duration_s),
        "modes_on_dev": table(
            {"kind": row.kind, "fusion": row.fusion, "sparse_weight": row.sparse_weight, "primary": row.primary,
             "ndcg_at_10": row.ndcg_at_10, "chosen": row.chosen}
            for row in evaluation.mode_scores
        ),
        "worst_queries": table(
            {"query": row.text, "recall_at_5": row.recall_at_5, "ndcg_at_10": row.ndcg_at_10}
            for row in sorted(evaluation.served_query_results, key=lambda row: row.ndcg_at_10)[:10]
        ),
    }  # fmt: skip


def of_serving_evaluation(serving: ServingEvaluation) -> Metadata:
    """As an evaluation; says so when nothing is live."""
    if serving.evaluation is None:
        return {"collection": serving.collection or "nothing is live yet", "query_count": 0}
    return of_evaluation(serving.evaluation, None) | {"collection": serving.collection or "none"}


def of_comparison(comparison: Comparison, report: str, *, previous_report: str | None = None) -> Metadata:
    """Verdict, intervals and where the reports of this version and of the live one lie."""
    dense = {row.metric: row for row in comparison.dense_against_base.differences}
    return {
        "verdict": comparison.verdict,
        "reason": comparison.reason,
        "candidate_model_version": comparison.candidate_model_version,
        "retrieval_mode": comparison.candidate_mode.kind,
        "query_count": comparison.query_count,
        "leakage_passed": comparison.certificate_passed,
        "report": dg.MetadataValue.path(report),
        "previous_model_version": comparison.against_serving.reference_model_version
        if comparison.against_serving
        else "none",
        "previous_report": dg.MetadataValue.path(previous_report) if previous_report else "none",
        **{f"{name}_difference": float(row.difference) for name, row in dense.items()},
        "against_base": _differences(comparison.against_base),
        "dense_against_base": _differences(comparison.dense_against_base),
        "against_expanded_base": _differences(comparison.against_expanded_base)
        if comparison.against_expanded_base
        else "chunks are not expanded",
        "against_serving": _differences(comparison.against_serving) if comparison.against_serving else "nothing live",
        "slices": table(
            {"group": row.group, "slice": row.name, "queries": row.query_count, "base": row.reference,
             "candidate": row.candidate, "low": row.interval_low, "high": row.interval_high, "verdict": row.verdict}
            for row in comparison.slices
        ),
        "recommendation": comparison.recommendation or "none",
        "comparators": table(
            {"alternative": row.name, "recall_at_5": row.recall_at_5, "low": row.interval_low,
             "high": row.interval_high, "ndcg_at_10": row.ndcg_at_10, "latency_ms": row.latency_ms,
             "gigabytes_per_million_chunks": row.index_bytes_per_million / 1e9,
             "dollars_per_month": row.dollars_per_month}
            for row in comparison.comparators
        ),
        **{f"guard_{row.name.replace('-', '_')}_difference": float(row.difference)
           for row in comparison.general_ability},
        "general_ability": table(
            {"guard set": row.name, "metric": row.metric, "queries": row.query_count, "base": row.reference,
             "candidate": row.candidate, "low": row.interval_low, "high": row.interval_high, "verdict": row.verdict}
            for row in comparison.general_ability
        ),
    }  # fmt: skip


def of_alternatives(measured: MeasuredAlternatives) -> Metadata:
    """What was measured beside base and fine-tuned model, and what could not be."""
    return {
        "alternative_count": len(measured.lines),
        "alternatives_failed": len(measured.problems),
        "tokens_sent": sum(line.tokens_sent for line in measured.lines),
        "alternatives": table(
            {"name": line.name, "kind": line.kind, "recall_at_5": means(line.rows)["recall_at_5"],
             "ndcg_at_10": means(line.rows)["ndcg_at_10"], "latency_ms": line.latency_ms}
            for line in measured.alternatives()
        ),
        "problems": table({"name": row.name, "reason": row.reason} for row in measured.problems),
    }  # fmt: skip


def _differences(reference: ReferenceComparison) -> Any:
    return table(
        {"metric": row.metric, "reference": row.reference, "candidate": row.candidate, "difference": row.difference,
         "low": row.interval_low, "high": row.interval_high, "p": row.p_value, "wins": row.wins, "ties": row.ties,
         "losses": row.losses}
        for row in reference.differences
    )  # fmt: skip


def of_collection(collection: ServingCollection) -> Metadata:
    """Size and every check."""
    return {
        "collection": collection.collection,
        "model_version": collection.model_version,
        "corpus_version": collection.corpus_version,
        "point_count": collection.point_count,
        "uploaded_count": collection.uploaded_count,
        "removed_count": collection.removed_count,
        "verified": collection.verified,
        "build_duration_s": float(collection.duration_s),
        "checks": table(
            {"check": check.name, "passed": check.passed, "vacuous": check.vacuous, "detail": check.detail}
            for check in collection.checks
        ),
    }


def of_release(release: CaughtUpRelease, registry: ModelRegistry) -> Metadata:
    """As a swap, with what was caught up around it."""
    return of_swap(release.swap, registry) | {
        "caught_up_added": release.added,
        "caught_up_changed": release.changed,
        "caught_up_deleted": release.deleted,
    }


def of_swap(swap: AliasSwap, registry: ModelRegistry) -> Metadata:
    """Where the alias points, since when, and the model's lineage."""
    return {
        "alias": swap.alias,
        "collection": swap.collection,
        "previous_collection": swap.previous_collection or "none",
        "model_version": swap.model_version,
        "lineage": " < ".join([swap.model_version, *registry.parents(swap.model_version)]),
        "swapped": swap.swapped,
        "reason": swap.reason,
        "swap_duration_s": float(swap.duration_s),
    }


def _spread(rows: Sequence[Any]) -> Sequence[Any]:
    """A few rows from the whole length."""
    return rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]


def _curves(history: Sequence[HistoryPoint]) -> str:
    """Loss, and Recall@5 on dev, over steps: a picture in Markdown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(point.step, point.loss) for point in history if point.loss is not None]
    recalls = [(point.step, point.dev_recall_at_5) for point in history if point.dev_recall_at_5 is not None]
    for axes, points, title in ((left, losses, "training loss"), (right, recalls, "dev Recall@5")):
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3) if points else None
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return f"![curves](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
