from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain_embed_pipeline.errors import EncoderMismatchError, StoreUnavailableError, VerificationError
from domain_embed_pipeline.evaluation.records import QueryResult, RetrievalMode
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.serving.metadata import read_metadata
from domain_embed_pipeline.serving.records import BuildSettings, CheckResult, ServingCollection, VerificationReport
from domain_embed_pipeline.serving.verification import inspect_collection, verify_collection
from domain_embed_pipeline.serving.verification_inputs import VerificationInputs
from domain_embed_pipeline_tests.serving.conftest import QUICK_LOOK, Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import (
    DENSE,
    HYBRID,
    QUICK,
    SPARSE,
    WordEncoder,
    chunks_of,
    dense_ranking,
    golden_of,
    plan_of,
    texts_of,
)

ENCODER = WordEncoder()
CHUNKS = chunks_of(60)
VECTORS = ENCODER.encode_passages(texts_of(CHUNKS))
QUESTIONS = ["how do I clean the pump", "replace a worn gasket", "where to store the rotor", "weld the hose p79"]


def golden() -> list[QueryResult]:
    """Each question's best chunk by brute force is relevant, so Recall@10 offline is 1."""
    rankings = {text: dense_ranking(ENCODER, CHUNKS, text) for text in QUESTIONS}
    return [golden_of(text, ranking[:1], ranking[:10]) for text, ranking in rankings.items()]


def inspect(workplace: Workplace, built: ServingCollection, inputs: VerificationInputs) -> dict[str, CheckResult]:
    report = inspect_collection(workplace.client, built.collection, inputs=inputs, settings=QUICK_LOOK, retries=QUICK)
    return {check.name: check for check in report.checks}


def built_in(workplace: Workplace, mode: RetrievalMode = DENSE) -> tuple[ServingCollection, VerificationInputs]:
    plan = plan_of(ENCODER, CHUNKS, mode=mode)
    return workplace.build(plan, CHUNKS, ENCODER), VerificationInputs(plan, CHUNKS, VECTORS, ENCODER, golden())


def test_a_sound_collection_passes_every_check_and_is_marked_as_verified(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    verified = verify_collection(workplace.client, built, inputs=inputs, settings=QUICK_LOOK, retries=QUICK)
    assert verified.verified and all(check.passed for check in verified.checks)
    metadata = read_metadata(workplace.client, built.collection, retries=QUICK)
    assert metadata is not None and (metadata.state, metadata.point_count) == ("verified", 60)


def test_checks_that_could_not_have_failed_say_so(embedded: Workplace) -> None:
    built, inputs = built_in(embedded)
    checks = inspect(embedded, built, inputs)
    assert {name for name, check in checks.items() if check.vacuous} == {"status", "index_recall", "latency"}


def test_one_error_names_everything_that_is_wrong(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    ids = [point_id_of(chunk.chunk_id) for chunk in CHUNKS]
    workplace.client.delete(built.collection, ids[:2])
    workplace.client.update_collection(built.collection, metadata={"corpus_version": "corpus-9"})
    with pytest.raises(VerificationError, match=r"metadata: corpus_version is 'corpus-9'.*id_set: 2 missing"):
        verify_collection(workplace.client, built, inputs=inputs, settings=QUICK_LOOK, retries=QUICK)
    metadata = read_metadata(workplace.client, built.collection, retries=QUICK)
    assert metadata is not None and metadata.state == "building"


def test_surplus_points_and_foreign_payloads_are_found(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    fewer = replace(inputs, chunks=CHUNKS[1:], vectors=VECTORS[1:])
    assert "1 surplus" in inspect(workplace, built, fewer)["id_set"].detail
    renamed = replace(inputs, chunks=[replace(CHUNKS[0], document_ids=("moved.md",)), *CHUNKS[1:]])
    assert "1 with another payload" in inspect(workplace, built, renamed)["id_set"].detail


def test_a_vector_that_is_not_the_one_sent_is_found(workplace: Workplace) -> None:
    from qdrant_client import models

    built, inputs = built_in(workplace)
    wrong = models.PointVectors(id=point_id_of(CHUNKS[3].chunk_id), vector={"dense": VECTORS[4].tolist()})
    if workplace.settings.url is None:
        workplace.client.update_vectors(built.collection, [wrong])
    else:
        swapped = np.array(VECTORS)
        swapped[3] = VECTORS[4]
        inputs = replace(inputs, vectors=swapped)
    check = inspect(workplace, built, inputs)["stored_vectors"]
    assert not check.passed and check.value is not None and check.value < 0.99


def test_vectors_that_were_not_normalised_equal_what_cosine_stores(workplace: Workplace) -> None:
    plan = plan_of(ENCODER, CHUNKS)
    built = workplace.build(plan, CHUNKS, ENCODER)
    assert inspect(workplace, built, VerificationInputs(plan, CHUNKS, VECTORS * 7.5))["stored_vectors"].passed


def test_golden_queries_give_the_recall_that_was_measured_offline(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    check = inspect(workplace, built, inputs)["golden_queries"]
    assert (check.passed, check.value, check.bound) == (True, 1.0, 1.0)


@pytest.mark.parametrize("mode", [SPARSE, HYBRID], ids=["sparse", "hybrid"])
def test_golden_queries_are_asked_in_the_mode_that_will_serve(workplace: Workplace, mode: RetrievalMode) -> None:
    built, inputs = built_in(workplace, mode)
    named = golden_of("p41", [CHUNKS[41].chunk_id], [CHUNKS[41].chunk_id])
    check = inspect(workplace, built, replace(inputs, golden=[named]))["golden_queries"]
    assert (check.passed, check.value) == (True, 1.0)


def test_a_recall_other_than_offline_fails_whichever_way_it_differs(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    better_here = [replace(row, retrieved=("c-elsewhere",)) for row in golden()]
    check = inspect(workplace, built, replace(inputs, golden=better_here))["golden_queries"]
    assert (check.passed, check.value, check.bound) == (False, 1.0, 0.0)


@pytest.mark.parametrize(("wrong", "passes"), [(1, True), (2, False)])
def test_one_query_of_a_small_set_may_differ_through_the_order_of_ties(
    embedded: Workplace, wrong: int, passes: bool
) -> None:
    built, inputs = built_in(embedded)
    rows = [replace(row, retrieved=("c-elsewhere",)) if number < wrong else row for number, row in enumerate(golden())]
    assert inspect(embedded, built, replace(inputs, golden=rows))["golden_queries"].passed is passes


def test_an_embedded_store_is_asked_few_queries(embedded: Workplace) -> None:
    built, inputs = built_in(embedded)
    check = inspect(embedded, built, replace(inputs, golden=list(golden()) * 60))["golden_queries"]
    assert check.passed
    assert "over 50 queries" in check.detail


def test_golden_queries_by_another_encoder_are_an_error_not_a_result(embedded: Workplace) -> None:
    built, inputs = built_in(embedded)
    with pytest.raises(EncoderMismatchError):
        inspect(embedded, built, replace(inputs, encoder=WordEncoder(seed=5)))


def test_a_collection_of_another_dimension_does_not_fit_the_plan(workplace: Workplace) -> None:
    built, inputs = built_in(workplace)
    wider = plan_of(WordEncoder(dimension=64), CHUNKS)
    check = inspect(workplace, built, replace(inputs, plan=wider, golden=()))["configuration"]
    assert "dimension is 32, planned 64" in check.detail


def test_the_embedded_store_keeps_what_was_verified_when_it_is_opened_again(embedded: Workplace) -> None:
    from domain_embed_pipeline.serving.store import open_store

    built, inputs = built_in(embedded, HYBRID)
    verify_collection(embedded.client, built, inputs=inputs, settings=QUICK_LOOK)
    embedded.client.close()
    with open_store(embedded.settings, locked=True) as client:
        report = inspect_collection(client, built.collection, inputs=inputs, settings=QUICK_LOOK, retries=QUICK)
        metadata = read_metadata(client, built.collection, retries=QUICK)
    assert report.passed and metadata is not None and metadata.state == "verified"


def test_a_report_lists_its_failures() -> None:
    good, bad = CheckResult("a", True, False, "fine"), CheckResult("b", False, False, "broken")
    assert VerificationReport("c", False, 1, (good, bad), 0.0).failures == (bad,)


# --- against a server ---


def test_verification_waits_until_green_lasts(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    seen_by_other_checks = ["green", "green"]
    double.statuses[built.collection] = [*seen_by_other_checks, "green", "green", "yellow", "green", "green", "green"]
    pauses: list[float] = []
    settings = replace(QUICK_LOOK, green_poll_s=2.0, sleep=pauses.append)
    inspect_collection(remote.client, built.collection, inputs=inputs, settings=settings, retries=QUICK)
    assert pauses == [2.0] * 5


def test_indexing_that_never_ends_fails_instead_of_hanging(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    double.statuses[built.collection] = ["yellow"]
    settings = replace(QUICK_LOOK, green_poll_s=60.0, green_timeout_s=600.0, sleep=lambda _: None)
    report = inspect_collection(remote.client, built.collection, inputs=inputs, settings=settings, retries=QUICK)
    assert [check.detail for check in report.failures] == ["still yellow after 600 s"]


def test_a_grey_collection_is_woken(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    double.asleep = True
    assert inspect(remote, built, inputs)["status"].passed


def test_a_red_collection_fails_at_once(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    double.statuses[built.collection] = ["red"]
    assert "red" in inspect(remote, built, inputs)["status"].detail


def test_an_index_that_overlooks_neighbours_fails(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    double.misses = 2
    check = inspect(remote, built, replace(inputs, golden=()))["index_recall"]
    assert not check.passed and check.value == pytest.approx(0.8)


def test_a_server_that_forbids_exact_search_leaves_the_check_open_and_says_so(
    remote: Workplace, double: QdrantDouble
) -> None:
    built, inputs = built_in(remote)
    double.forbids_exact = True
    check = inspect(remote, built, inputs)["index_recall"]
    assert check.passed and check.vacuous and "exact search" in check.detail


def test_a_missing_payload_index_fails(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    del double.extras[built.collection]["indexes"]["source"]
    assert "payload_indexes" in inspect(remote, built, inputs)["configuration"].detail


def test_quantization_that_the_server_did_not_take_fails(remote: Workplace, double: QdrantDouble) -> None:
    plan = plan_of(ENCODER, CHUNKS, settings=BuildSettings(quantization="int8"))
    built = remote.build(plan, CHUNKS, ENCODER)
    assert inspect(remote, built, VerificationInputs(plan, CHUNKS, VECTORS))["configuration"].passed
    double.extras[built.collection]["quantization"] = None
    assert (
        "quantized is False"
        in inspect(remote, built, VerificationInputs(plan, CHUNKS, VECTORS))["configuration"].detail
    )


def test_a_collection_much_slower_than_the_live_one_fails(remote: Workplace, double: QdrantDouble) -> None:
    live = remote.build(plan_of(ENCODER, CHUNKS, corpus_version="corpus-0"), CHUNKS, ENCODER)
    built, inputs = built_in(remote)
    double.delays.append((f"{built.collection}/points/query$", 0.04))
    settings = replace(QUICK_LOOK, latency_floor_ms=10.0)
    inputs = replace(inputs, live_collection=live.collection)
    report = inspect_collection(remote.client, built.collection, inputs=inputs, settings=settings, retries=QUICK)
    assert [check.name for check in report.failures] == ["latency"]


def test_a_corpus_that_grew_may_take_longer_to_search(remote: Workplace, double: QdrantDouble) -> None:
    few = CHUNKS[:10]
    live = remote.build(plan_of(ENCODER, few, corpus_version="corpus-0"), few, ENCODER)
    built, inputs = built_in(remote)
    double.delays += [(f"{live.collection}/points/query$", 0.02), (f"{built.collection}/points/query$", 0.06)]
    inputs = replace(inputs, live_collection=live.collection)
    settings = replace(QUICK_LOOK, latency_floor_ms=1.0)
    report = inspect_collection(remote.client, built.collection, inputs=inputs, settings=settings, retries=QUICK)
    assert report.passed


def test_a_server_that_goes_away_is_an_error_and_not_a_failed_check(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    double.fail("POST .*/scroll$", times=1_000, status=503)
    with pytest.raises(StoreUnavailableError):
        inspect(remote, built, inputs)


def test_a_check_survives_a_server_that_fails_now_and_then(remote: Workplace, double: QdrantDouble) -> None:
    built, inputs = built_in(remote)
    for call in ("GET /collections/", "POST .*/scroll$", "POST .*/points$", "POST .*/query/batch$", "POST .*/query$"):
        double.fail(call, times=2, status=502)
    assert all(check.passed for check in inspect(remote, built, inputs).values())
