"""The verdict: is what would be served better than what the base model could give, and than what is live?

What belongs here: which evaluations may be compared, the rule of the verdict, its words. What does not: the statistics
(`statistics`), the division into slices (`slices`), the swap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from domain_embed_pipeline.errors import IncomparableError
from domain_embed_pipeline.evaluation.records import (
    METRICS,
    Comparison,
    Evaluation,
    MetricDifference,
    QueryResult,
    ReferenceComparison,
    SliceResult,
    Verdict,
)
from domain_embed_pipeline.evaluation.slices import Slice, compare_slices
from domain_embed_pipeline.evaluation.statistics import ResamplingSettings, paired_differences, significance_of
from domain_embed_pipeline.evaluation.words import describe_difference, metric_name


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """The rule of the verdict."""

    primary_metric: str = "recall_at_5"
    guard_metrics: tuple[str, ...] = ("ndcg_at_10",)
    """Must not fall significantly, whatever the primary metric does."""
    guard_slices: bool = True
    """Whether a part of the queries that got significantly worse stops the verdict `better`."""
    fewest_queries: int = 30
    """Below this many queries nothing is called better."""
    fewest_clusters: int = 10
    """Below this many independent groups of queries the interval means nothing, and nothing is called better."""
    resampling: ResamplingSettings = field(default_factory=ResamplingSettings)


@dataclass(frozen=True, slots=True)
class CertificateOutcome:
    """What the comparison needs to know of the leakage certificate."""

    digest: str
    passed: bool


@dataclass(frozen=True, slots=True)
class References:
    """What a candidate is compared with."""

    base: Evaluation
    """The base model in its own best mode over the chunks as they are."""
    expanded_base: Evaluation | None = None
    """The base model over chunks expanded by their questions; asked where the candidate's are, too."""
    serving: Evaluation | None = None
    """What is live now; None before the first swap."""

    def of(self, candidate: Evaluation) -> References:
        """Those that are asked: chunks with questions say nothing of a candidate whose chunks have none.

        Raises:
            IncomparableError: If one was measured on something else than the candidate.
        """
        asked = self if candidate.mode.expanded else dataclasses.replace(self, expanded_base=None)
        for reference in filter(None, (asked.base, asked.expanded_base, asked.serving)):
            check_comparable(candidate, reference)
        return asked


def compare(
    candidate: Evaluation,
    references: References,
    *,
    certificate: CertificateOutcome,
    slices: Sequence[Slice] = (),
    settings: ComparisonSettings | None = None,
) -> Comparison:
    """Candidate against the base model and against what is live, each in the mode it would be served in.

    Better needs both: a significant gain over the base in its best mode, and over the live configuration where there
    is one; no part of the queries may have got significantly worse. Worse needs one significant loss, be it against
    the base model over the same expanded chunks: questions in the index must not hide a model that got worse.

    Args:
        candidate: The fine-tuned model in its chosen mode.
        references: What it has to be better than.
        certificate: Without a passed one nothing is called better.
        slices: Parts of the queries to look at separately (`slices.make_slices`).
        settings: The rule.

    Raises:
        IncomparableError: If the evaluations differ in more than model and mode; every difference is listed.
    """
    settings = settings or ComparisonSettings()
    asked = references.of(candidate)
    base, expanded_base, serving = asked.base, asked.expanded_base, asked.serving
    slice_results = compare_slices(
        candidate.served_query_results,
        base.served_query_results,
        slices,
        metric=settings.primary_metric,
        settings=settings.resampling,
    )
    against_base = _against("base", candidate, base, settings, slice_results)
    against_expanded = _against("expanded_base", candidate, expanded_base, settings, ()) if expanded_base else None
    against_serving = _against("serving", candidate, serving, settings, ()) if serving else None
    dense = _dense_against_base(candidate, base, settings)
    verdict, reason = _overall(against_base, against_serving, dense, certificate)
    if against_expanded:
        verdict, reason = _with_expansion(verdict, reason, against_expanded, settings.primary_metric)
    return Comparison(
        candidate_model_version=candidate.model_version,
        candidate_mode=candidate.mode,
        corpus_version=candidate.corpus_version,
        evaluation_set_version=candidate.evaluation_set_version,
        primary_metric=settings.primary_metric,
        verdict=verdict,
        reason=reason,
        against_base=against_base,
        against_serving=against_serving,
        against_expanded_base=against_expanded,
        dense_against_base=dense,
        certificate_digest=certificate.digest,
        certificate_passed=certificate.passed,
        query_count=len(candidate.query_results),
        cluster_count=len({row.cluster_id for row in candidate.query_results}),
        slices=slice_results,
    )


def check_comparable(candidate: Evaluation, reference: Evaluation) -> None:
    """Refuse two evaluations that differ in more than model and mode.

    Raises:
        IncomparableError: Listing every difference.
    """
    mismatches = [
        f"{name}: {getattr(candidate, name)} against {getattr(reference, name)}"
        for name in ("corpus_version", "evaluation_set_version", "split", "recall_ks", "measures_version")
        if getattr(candidate, name) != getattr(reference, name)
    ]
    same_texts = candidate.mode.expanded == reference.mode.expanded
    if same_texts and candidate.sparse and reference.sparse and candidate.sparse != reference.sparse:
        mismatches.append(f"BM25 spec: {candidate.sparse} against {reference.sparse}")
    for name in ("query_results", "served_query_results"):
        mismatches += _row_mismatches(name, candidate.query_results, getattr(reference, name))
    mismatches += _row_mismatches("served_query_results", candidate.query_results, candidate.served_query_results)
    if mismatches:
        raise IncomparableError(
            f"{candidate.model_version} and {reference.model_version} were not measured on the same thing: "
            f"{'; '.join(dict.fromkeys(mismatches))}.",
            fix="Materialize baseline_evaluation, serving_evaluation and finetuned_evaluation again.",
        )


def _row_mismatches(name: str, ours: Sequence[QueryResult], theirs: Sequence[QueryResult]) -> list[str]:
    our_ids, their_ids = [row.query_id for row in ours], [row.query_id for row in theirs]
    if set(our_ids) != set(their_ids) or len(our_ids) != len(their_ids):
        only_ours, only_theirs = set(our_ids) - set(their_ids), set(their_ids) - set(our_ids)
        examples = sorted(only_ours | only_theirs)[:3]
        return [f"{name}: {len(only_ours)} queries only here, {len(only_theirs)} only there, such as {examples}"]
    if our_ids != their_ids:
        return [f"{name}: the same queries in another order"]
    found = []
    for field_name in ("text", "relevant", "cluster_id"):
        differing = [
            one.query_id
            for one, other in zip(ours, theirs, strict=True)
            if getattr(one, field_name) != getattr(other, field_name)
        ]
        if differing:
            found.append(f"{name}: another {field_name} for {len(differing)} queries, such as {differing[:3]}")
    return found


def _against(
    kind: Literal["base", "expanded_base", "serving"],
    candidate: Evaluation,
    reference: Evaluation,
    settings: ComparisonSettings,
    slices: Sequence[SliceResult],
) -> ReferenceComparison:
    differences = paired_differences(
        candidate.served_query_results, reference.served_query_results, METRICS, settings=settings.resampling
    )
    verdict, reason = judge(differences, candidate.served_query_results, settings)
    worse = [f"{part.group} {part.name} ({part.difference:+.3f})" for part in slices if part.verdict == "worse"]
    if worse:
        reason += f" Significantly worse on: {', '.join(worse)}."
        verdict = "not_shown" if settings.guard_slices and verdict == "better" else verdict
    return ReferenceComparison(kind, reference.model_version, reference.mode, verdict, reason, differences)


def _dense_against_base(candidate: Evaluation, base: Evaluation, settings: ComparisonSettings) -> ReferenceComparison:
    differences = paired_differences(candidate.query_results, base.query_results, METRICS, settings=settings.resampling)
    verdict, reason = judge(differences, candidate.query_results, settings)
    return ReferenceComparison("base", base.model_version, base.mode, verdict, reason, differences)


def judge(
    differences: Sequence[MetricDifference], rows: Sequence[QueryResult], settings: ComparisonSettings
) -> tuple[Verdict, str]:
    """Verdict on one reference, and the sentence that says why.

    Better: interval above 0 and p below 5 % on the primary metric, no guard metric below 0 by the same rule, and
    enough queries. Worse: the primary metric below 0 by the same rule. Else not shown.
    """
    by_name = {difference.metric: difference for difference in differences}
    primary = by_name[settings.primary_metric]
    sentence = describe_difference(primary)
    if significance_of(primary) < 0:
        return "worse", sentence
    fallen = [name for name in settings.guard_metrics if significance_of(by_name[name]) < 0]
    clusters = len({row.cluster_id for row in rows})
    if fallen:
        named = ", ".join(f"{metric_name(name)} by {by_name[name].difference:+.3f}" for name in fallen)
        return "not_shown", f"{sentence} But a guard metric fell significantly: {named}."
    if len(rows) < settings.fewest_queries or clusters < settings.fewest_clusters:
        return "not_shown", (
            f"{sentence} {len(rows)} queries over {clusters} independent groups of documents are too few to call "
            f"anything better ({settings.fewest_queries} and {settings.fewest_clusters} are needed)."
        )
    if significance_of(primary) > 0:
        return "better", sentence
    return "not_shown", f"{sentence} {_what_would_be_seen(primary)}"


def _what_would_be_seen(primary: MetricDifference) -> str:
    if not primary.wins and not primary.losses:
        return "No query changed."
    effect = primary.minimum_detectable_effect
    return f"That may be chance: these queries would show a true change of {effect:.3f} in four of five trials."


def _overall(
    against_base: ReferenceComparison,
    against_serving: ReferenceComparison | None,
    dense: ReferenceComparison,
    certificate: CertificateOutcome,
) -> tuple[Verdict, str]:
    reason = f"Against the base model: {against_base.reason}"
    verdicts = [against_base.verdict]
    if against_serving:
        reason += f" Against what is live: {against_serving.reason}"
        verdicts.append(against_serving.verdict)
    if dense.verdict == "better" and against_base.verdict != "better":
        reason += " By vectors alone the fine-tuned model is better, but BM25 beside it absorbs the gain."
    if "worse" in verdicts:
        return "worse", reason
    if "not_shown" in verdicts:
        return "not_shown", reason
    if not certificate.passed:
        return "not_shown", f"{reason} But the leakage certificate did not pass, so none of this can be trusted."
    return "better", reason


def _with_expansion(
    verdict: Verdict, reason: str, against: ReferenceComparison, primary_metric: str
) -> tuple[Verdict, str]:
    """The verdict once it is known what the questions in the index bring without any training."""
    primary = next(difference for difference in against.differences if difference.metric == primary_metric)
    share = (
        f"Questions in the index are part of that: with them the base model reaches {metric_name(primary_metric)} "
        f"{primary.reference:.3f}, the candidate {primary.candidate:.3f}."
    )
    if against.verdict == "worse":
        return "worse", f"{reason} {share} Over the same chunks the base model is significantly better."
    return verdict, f"{reason} {share}"
