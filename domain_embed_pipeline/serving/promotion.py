"""Whether a comparison lets its candidate go live.

What belongs here: the policy. What does not: the comparison (`evaluation`) and the move of the alias (`alias`).
"""

from __future__ import annotations

import logging

from domain_embed_pipeline.errors import ConfigurationError, PromotionRefusedError
from domain_embed_pipeline.evaluation.records import Comparison
from domain_embed_pipeline.serving.live import ServingEvaluation
from domain_embed_pipeline.serving.records import PromotionDecision, ServingCollection

logger = logging.getLogger(__name__)


def require_promotable(
    comparison: Comparison, *, override_reason: str | None = None, collection: ServingCollection | None = None
) -> PromotionDecision:
    """The decision that lets the candidate go live.

    Args:
        comparison: Candidate against base and against what is live.
        override_reason: Why to go live all the same; it is kept in the decision.
        collection: What the alias would move to. It must hold the very candidate that was judged; no reason
            overrides that.

    Raises:
        PromotionRefusedError: If verdict or leakage certificate do not pass, or something else was judged.
        ConfigurationError: If the reason for an override is blank.
    """
    if override_reason is not None and not override_reason.strip():
        raise ConfigurationError("The reason for the override is blank.", fix="Say why, in words.")
    if collection is not None:
        _require_same_candidate(comparison, collection)
    objections = _objections(comparison)
    if objections and override_reason is None:
        raise PromotionRefusedError(
            f"{comparison.candidate_model_version} does not go live: {'; '.join(objections)}.",
            fix="Improve data or training and compare again, or give override_reason= to go live all the same.",
        )
    if objections:
        logger.warning(
            "Promotion of %s overridden (%s): %s", comparison.candidate_model_version, override_reason, objections
        )
    return PromotionDecision(
        model_version=comparison.candidate_model_version,
        verdict=comparison.verdict,
        reason="; ".join(objections) or comparison.reason,
        certificate_passed=comparison.certificate_passed,
        overridden=bool(objections),
        override_reason=override_reason,
    )


def decision_to_serve(
    collection: ServingCollection,
    *,
    live: ServingEvaluation,
    comparison: Comparison,
    override_reason: str | None = None,
) -> PromotionDecision:
    """The decision that lets a collection go live.

    No verdict is asked for while model and retrieval mode stay, nor of the base model where nothing is live yet: it is
    what readers would have without any training.

    Args:
        collection: What the alias would move to.
        live: What serves now.
        comparison: Candidate against base and against what is live.
        override_reason: Why to go live without a passing verdict.

    Raises:
        PromotionRefusedError: If the collection is of another model than the live one and its verdict does not pass.
        ConfigurationError: If the reason for an override is blank.
    """
    if live.serves(collection):
        return _without_verdict(collection, "unchanged", f"the live model, for the corpus {collection.corpus_version}")
    if live.collection is None and collection.model_version == comparison.against_base.reference_model_version:
        return _without_verdict(collection, "base", "the base model in its best mode, since nothing was live")
    return require_promotable(comparison, override_reason=override_reason, collection=collection)


def _without_verdict(collection: ServingCollection, verdict: str, reason: str) -> PromotionDecision:
    return PromotionDecision(
        model_version=collection.model_version,
        verdict=verdict,
        reason=reason,
        certificate_passed=True,
        overridden=False,
        override_reason=None,
    )


def _objections(comparison: Comparison) -> list[str]:
    objections = []
    if comparison.verdict != "better":
        objections.append(f"the verdict is {comparison.verdict} ({comparison.reason})")
    serving = comparison.against_serving
    if comparison.verdict == "better" and serving is not None and serving.verdict == "worse":
        objections.append(f"it is worse than {serving.reference_model_version}, which is live ({serving.reason})")
    if not comparison.certificate_passed:
        objections.append(f"the leakage certificate {comparison.certificate_digest[:12]} does not pass")
    return objections


def _require_same_candidate(comparison: Comparison, collection: ServingCollection) -> None:
    judged = (comparison.candidate_model_version, comparison.candidate_mode, comparison.corpus_version)
    built = (collection.model_version, collection.mode, collection.corpus_version)
    if judged != built:
        raise PromotionRefusedError(
            f"Collection {collection.collection} holds {built}; the comparison judged {judged}.",
            fix="Compare what was built, or build what was compared.",
        )
