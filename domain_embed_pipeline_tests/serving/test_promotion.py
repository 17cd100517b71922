from __future__ import annotations

from dataclasses import replace

import pytest

from domain_embed_pipeline.errors import ConfigurationError, PromotionRefusedError
from domain_embed_pipeline.evaluation.records import Comparison, ReferenceComparison, Verdict
from domain_embed_pipeline.serving.live import ServingEvaluation
from domain_embed_pipeline.serving.promotion import decision_to_serve, require_promotable
from domain_embed_pipeline.serving.records import ServingCollection
from domain_embed_pipeline_tests.serving.scenario import DENSE, HYBRID, WordEncoder


def against(reference: str, verdict: Verdict) -> ReferenceComparison:
    return ReferenceComparison(
        reference="base" if reference == "base" else "serving",
        reference_model_version=reference,
        reference_mode=DENSE,
        verdict=verdict,
        reason="because of the interval",
        differences=(),
    )


def comparison(verdict: Verdict = "better", **changes: object) -> Comparison:
    usual = Comparison(
        candidate_model_version="model-a",
        candidate_mode=DENSE,
        corpus_version="corpus-1",
        evaluation_set_version="evaluation-1",
        primary_metric="recall_at_10",
        verdict=verdict,
        reason="interval above zero",
        against_base=against("base", verdict),
        against_serving=against("model-0", verdict),
        dense_against_base=against("base", verdict),
        certificate_digest="c0ffee",
        certificate_passed=True,
        query_count=100,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


COLLECTION = ServingCollection(
    collection="manuals__model-a__corpus-1",
    alias="manuals",
    model_version="model-a",
    encoder=WordEncoder().spec,
    corpus_version="corpus-1",
    mode=DENSE,
    sparse_spec=None,
    vectors_config={},
    point_count=1,
    uploaded_count=1,
    removed_count=0,
    created_at="2026-01-01T00:00:00+00:00",
    duration_s=0.0,
    verified=True,
)


def test_a_better_candidate_with_a_clean_certificate_goes_live() -> None:
    decision = require_promotable(comparison(), collection=COLLECTION)
    assert (decision.model_version, decision.overridden, decision.reason) == ("model-a", False, "interval above zero")


@pytest.mark.parametrize("verdict", ["not_shown", "worse"])
def test_any_other_verdict_is_refused_with_its_reason(verdict: Verdict) -> None:
    with pytest.raises(PromotionRefusedError, match=f"the verdict is {verdict}.*interval above zero"):
        require_promotable(comparison(verdict))


def test_a_leak_is_refused_whatever_the_verdict() -> None:
    with pytest.raises(PromotionRefusedError, match="leakage certificate c0ffee does not pass"):
        require_promotable(comparison(certificate_passed=False))


def test_worse_than_what_is_live_is_refused_even_if_better_than_the_base() -> None:
    with pytest.raises(PromotionRefusedError, match="worse than model-0, which is live"):
        require_promotable(comparison(against_serving=against("model-0", "worse")))


def test_the_first_candidate_has_nothing_live_to_beat() -> None:
    assert not require_promotable(comparison(against_serving=None)).overridden


def test_an_override_is_recorded_with_what_it_overrode() -> None:
    decision = require_promotable(comparison("worse", certificate_passed=False), override_reason="audit by hand")
    assert decision.overridden and decision.override_reason == "audit by hand"
    assert "worse" in decision.reason and "leakage" in decision.reason


def test_an_override_without_a_reason_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="blank"):
        require_promotable(comparison("worse"), override_reason="  ")


def test_a_reason_given_for_a_passing_candidate_overrides_nothing() -> None:
    assert not require_promotable(comparison(), override_reason="just in case").overridden


@pytest.mark.parametrize(
    "change", [{"model_version": "model-b"}, {"mode": HYBRID}, {"corpus_version": "corpus-2"}], ids=str
)
def test_no_reason_makes_up_for_having_judged_something_else(change: dict[str, object]) -> None:
    other = replace(COLLECTION, **change)  # type: ignore[arg-type]
    with pytest.raises(PromotionRefusedError, match="the comparison judged"):
        require_promotable(comparison(), collection=other, override_reason="trust me")


BASE = replace(COLLECTION, model_version="base", collection="manuals__base__corpus-1")


def test_the_base_model_may_be_the_first_to_serve_without_a_verdict() -> None:
    decision = decision_to_serve(BASE, live=ServingEvaluation(None, None), comparison=comparison("not_shown"))
    assert (decision.model_version, decision.verdict, decision.overridden) == ("base", "base", False)


def test_the_base_model_takes_nobodys_place() -> None:
    live = ServingEvaluation("manuals__model-0__corpus-1", None)
    with pytest.raises(PromotionRefusedError, match="the comparison judged"):
        decision_to_serve(BASE, live=live, comparison=comparison("not_shown"))
