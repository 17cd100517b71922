"""Metadata of the group `evaluation`."""

from typing import Any

import dagster as dg

from domain_embed_pipeline.alternatives.measuring import MeasuredAlternatives
from domain_embed_pipeline.defs.metadata.values import Metadata, table
from domain_embed_pipeline.evaluation.records import (
    Comparison,
    Evaluation,
    GuardResult,
    ReferenceComparison,
    SliceResult,
    means,
)
from domain_embed_pipeline.serving.live import ServingEvaluation


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
    live = comparison.against_serving
    dense = comparison.dense_against_base
    return {
        "verdict": comparison.verdict,
        "reason": comparison.reason,
        "candidate_model_version": comparison.candidate_model_version,
        "retrieval_mode": comparison.candidate_mode.kind,
        "query_count": comparison.query_count,
        "leakage_passed": comparison.certificate_passed,
        "report": dg.MetadataValue.path(report),
        "previous_model_version": live.reference_model_version if live else "none",
        "previous_report": dg.MetadataValue.path(previous_report) if previous_report else "none",
        **{f"{row.metric}_difference": float(row.difference) for row in dense.differences},
        "against_base": _differences(comparison.against_base),
        "dense_against_base": _differences(dense),
        "against_expanded_base": _differences(comparison.against_expanded_base, absent="chunks are not expanded"),
        "against_serving": _differences(live, absent="nothing live"),
        "slices": _slices(comparison),
        "recommendation": comparison.recommendation or "none",
        "comparators": _comparators(comparison),
        **{_guard_key(row): float(row.difference) for row in comparison.general_ability},
        "general_ability": _general_ability(comparison),
    }


def of_alternatives(measured: MeasuredAlternatives) -> Metadata:
    """What was measured beside base and fine-tuned model, and what could not be."""
    return {
        "alternative_count": len(measured.lines),
        "alternatives_failed": len(measured.problems),
        "tokens_sent": sum(line.tokens_sent for line in measured.lines),
        "alternatives": table(
            {"name": line.name, "kind": line.kind, **means(line.rows, ("recall_at_5", "ndcg_at_10")),
             "latency_ms": line.latency_ms}
            for line in measured.alternatives()
        ),
        "problems": table({"name": row.name, "reason": row.reason} for row in measured.problems),
    }  # fmt: skip


def _differences(reference: ReferenceComparison | None, *, absent: str = "none") -> dg.TableMetadataValue | str:
    if reference is None:
        return absent
    return table(
        {"metric": row.metric, "reference": row.reference, "candidate": row.candidate, "difference": row.difference,
         "low": row.interval_low, "high": row.interval_high, "p": row.p_value, "wins": row.wins, "ties": row.ties,
         "losses": row.losses}
        for row in reference.differences
    )  # fmt: skip


def _slices(comparison: Comparison) -> dg.TableMetadataValue | str:
    return table({"group": row.group, "slice": row.name} | _part(row) for row in comparison.slices)


def _general_ability(comparison: Comparison) -> dg.TableMetadataValue | str:
    return table({"guard set": row.name, "metric": row.metric} | _part(row) for row in comparison.general_ability)


def _part(row: SliceResult | GuardResult) -> dict[str, Any]:
    """Base and candidate on some of the queries, or on another set."""
    return {
        "queries": row.query_count,
        "base": row.reference,
        "candidate": row.candidate,
        "low": row.interval_low,
        "high": row.interval_high,
        "verdict": row.verdict,
    }


def _guard_key(row: GuardResult) -> str:
    return f"guard_{row.name.replace('-', '_')}_difference"


def _comparators(comparison: Comparison) -> dg.TableMetadataValue | str:
    return table(
        {"alternative": row.name, "recall_at_5": row.recall_at_5, "low": row.interval_low,
         "high": row.interval_high, "ndcg_at_10": row.ndcg_at_10, "latency_ms": row.latency_ms,
         "gigabytes_per_million_chunks": row.index_bytes_per_million / 1e9,
         "dollars_per_month": row.dollars_per_month}
        for row in comparison.comparators
    )  # fmt: skip
