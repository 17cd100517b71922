"""A comparison in the short form that stands in the manifest of the version that may go live."""

from __future__ import annotations

from datetime import UTC, datetime

from domain_embed_pipeline.evaluation.records import Comparison, ReferenceComparison
from domain_embed_pipeline.registry.judgement import Judgement


def judgement_of(comparison: Comparison) -> Judgement:
    """Verdict and means of a comparison."""
    return Judgement(
        verdict=comparison.verdict,
        reason=comparison.reason,
        corpus_version=comparison.corpus_version,
        evaluation_set_version=comparison.evaluation_set_version,
        query_count=comparison.query_count,
        retrieval_mode=comparison.candidate_mode.kind,
        certificate_passed=comparison.certificate_passed,
        dense=_means(comparison.dense_against_base, "candidate"),
        base_dense=_means(comparison.dense_against_base, "reference"),
        served=_means(comparison.against_base, "candidate"),
        base_served=_means(comparison.against_base, "reference"),
        judged_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _means(against: ReferenceComparison, side: str) -> dict[str, float]:
    return {row.metric: round(float(getattr(row, side)), 4) for row in against.differences}
