from __future__ import annotations

import json

import numpy as np
import pytest

from domain_embed_pipeline.errors import ConfigurationError, ServingError, StoreUnavailableError
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.serving.collection import build_collection, collection_name
from domain_embed_pipeline.serving.metadata import read_metadata
from domain_embed_pipeline.serving.records import BuildSettings, CollectionPlan, ServingCollection
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import (
    ALIAS,
    DENSE,
    HYBRID,
    QUICK,
    WordEncoder,
    chunk_of,
    chunks_of,
    plan_of,
    texts_of,
)


def test_a_build_holds_exactly_the_chunks_with_their_vectors_and_payload(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(50)
    built = workplace.build(plan_of(encoder, chunks, mode=HYBRID), chunks, encoder)

    assert workplace.ids(built.collection) == {chunk.chunk_id for chunk in chunks}
    assert (built.point_count, built.uploaded_count, built.verified) == (50, 50, False)
    (record,) = workplace.client.retrieve(built.collection, [point_id_of(chunks[7].chunk_id)], with_vectors=True)
    assert record.payload is not None and isinstance(record.vector, dict)
    assert record.payload["text"] == record.payload["page_content"] == chunks[7].text
    assert record.payload["metadata"]["document_ids"] == ["manual-0.md"]
    assert np.allclose(record.vector["dense"], encoder.encode_passages(texts_of([chunks[7]]))[0], atol=1e-5)
    assert "bm25" in record.vector


def test_the_metadata_binds_the_collection_to_its_encoder_and_mode(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(5)
    plan = plan_of(encoder, chunks, mode=HYBRID)
    built = workplace.build(plan, chunks, encoder)

    metadata = read_metadata(workplace.client, built.collection, retries=QUICK)
    assert metadata is not None
    assert (metadata.encoder, metadata.mode, metadata.sparse_spec) == (encoder.spec, HYBRID, plan.sparse_spec)
    assert (metadata.state, metadata.alias, metadata.corpus_version) == ("building", ALIAS, "corpus-1")


def test_a_second_build_writes_nothing(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(40)
    plan = plan_of(encoder, chunks)
    first = workplace.build(plan, chunks, encoder)
    again = workplace.build(plan, chunks, encoder)
    assert (again.collection, again.uploaded_count, again.removed_count) == (first.collection, 0, 0)


def test_a_build_completes_what_an_interrupted_one_left_and_removes_what_does_not_belong(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(40)
    plan = plan_of(encoder, chunks)
    workplace.build(plan, chunks[:25] + chunks_of(3, start=900), encoder)
    completed = workplace.build(plan, chunks, encoder)
    assert (completed.uploaded_count, completed.removed_count) == (15, 3)
    assert workplace.ids(completed.collection) == {chunk.chunk_id for chunk in chunks}


def test_an_unfinished_collection_of_another_plan_is_built_anew(workplace: Workplace) -> None:
    encoder, retrained, chunks = WordEncoder(seed=1), WordEncoder(seed=2), chunks_of(10)
    workplace.build(plan_of(encoder, chunks), chunks, encoder)
    built = workplace.build(plan_of(retrained, chunks), chunks, retrained)
    assert built.uploaded_count == 10
    metadata = read_metadata(workplace.client, built.collection, retries=QUICK)
    assert metadata is not None and metadata.encoder.fingerprint == retrained.spec.fingerprint


def test_a_live_collection_of_the_same_name_and_another_mode_is_left_alone(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(10)
    live = workplace.go_live(plan_of(encoder, chunks, mode=DENSE), chunks, encoder)
    other = workplace.build(plan_of(encoder, chunks, mode=HYBRID), chunks, encoder)
    assert other.collection.startswith(f"{live.collection}__")
    kept = read_metadata(workplace.client, live.collection, retries=QUICK)
    assert kept is not None and kept.mode == DENSE and kept.state == "verified"


def test_a_build_does_not_touch_the_live_collection_it_equals(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(20)
    plan = plan_of(encoder, chunks)
    live = workplace.go_live(plan, chunks, encoder)
    again = workplace.build(plan, chunks[:5], encoder)
    assert (again.collection, again.removed_count, again.verified) == (live.collection, 0, True)
    assert len(workplace.ids(live.collection)) == 20


def test_a_collection_of_somebody_else_is_never_taken_over(workplace: Workplace) -> None:
    from qdrant_client import models

    encoder, chunks = WordEncoder(), chunks_of(5)
    name = collection_name(ALIAS, "model-a", "corpus-1")
    vectors = {"dense": models.VectorParams(size=32, distance=models.Distance.COSINE)}
    workplace.client.create_collection(name, vectors_config=vectors)
    with pytest.raises(ServingError, match="not made by this pipeline"):
        workplace.build(plan_of(encoder, chunks), chunks, encoder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda vectors: vectors[:-1], "shape"),
        (lambda vectors: np.where(np.arange(6)[:, None] == 3, np.nan, vectors), "zero or not finite"),
        (lambda vectors: np.where(np.arange(6)[:, None] == 3, 0.0, vectors), "zero or not finite"),
    ],
    ids=["a row short", "not a number", "zero"],
)
def test_vectors_that_cannot_be_right_are_refused_before_anything_is_written(
    embedded: Workplace, spoil: object, message: str
) -> None:
    encoder, chunks = WordEncoder(), chunks_of(6)
    vectors = spoil(encoder.encode_passages(texts_of(chunks)))  # type: ignore[operator]
    with pytest.raises(ServingError, match=message):
        build_collection(embedded.client, plan_of(encoder, chunks), chunks=chunks, vectors=vectors)
    assert embedded.client.get_collections().collections == []


def test_a_hybrid_plan_without_bm25_vectors_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hybrid"):
        CollectionPlan(ALIAS, WordEncoder().spec, "corpus-1", HYBRID)


def test_names_keep_out_what_a_store_or_a_folder_would_not_take() -> None:
    assert collection_name("docs", "BAAI/bge-small:v1", "corpus-1") == "docs__BAAI-bge-small-v1__corpus-1"
    long = collection_name("docs", "m" * 300, "corpus-1")
    assert len(long) <= 200 and long != collection_name("docs", "m" * 301, "corpus-1")


def test_a_text_without_any_bm25_term_is_stored_without_sparse_vector(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), [*chunks_of(3), chunk_of("the of and")]
    built = workplace.build(plan_of(encoder, chunks, mode=HYBRID), chunks, encoder)
    (record,) = workplace.client.retrieve(built.collection, [point_id_of(chunks[-1].chunk_id)], with_vectors=True)
    assert isinstance(record.vector, dict) and "bm25" not in record.vector


def test_payload_keys_of_frameworks_can_be_left_out(embedded: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(3)
    built = embedded.build(plan_of(encoder, chunks, settings=BuildSettings(frameworks=())), chunks, encoder)
    (record, *_), _ = embedded.client.scroll(built.collection)
    assert record.payload is not None
    assert "page_content" not in record.payload and "_node_content" not in record.payload


def test_the_record_survives_its_folder(embedded: Workplace, tmp_path: object) -> None:
    encoder, chunks = WordEncoder(), chunks_of(3)
    built = embedded.build_verified(plan_of(encoder, chunks, mode=HYBRID), chunks, encoder)
    save_record(built, f"{tmp_path}/record")
    assert load_record(ServingCollection, f"{tmp_path}/record") == built


# --- against a server ---


def test_indexes_come_before_points_and_indexing_is_off_while_they_load(
    remote: Workplace, double: QdrantDouble
) -> None:
    encoder, chunks = WordEncoder(), chunks_of(40)
    built = remote.build(plan_of(encoder, chunks), chunks, encoder)

    first_point = next(number for number, line in enumerate(double.requests) if line.endswith("/points"))
    indexes = [number for number, line in enumerate(double.requests) if line.endswith("/index")]
    assert indexes and max(indexes) < first_point
    assert set(double.indexing_thresholds) == {0}
    info = remote.client.get_collection(built.collection)
    assert info.config.optimizer_config.indexing_threshold == 10_000


def test_a_server_gets_shards_replicas_and_quantization(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(4)
    settings = BuildSettings(shard_number=4, replication_factor=2, quantization="int8")
    built = remote.build(plan_of(encoder, chunks, settings=settings), chunks, encoder)
    info = remote.client.get_collection(built.collection)
    assert (info.config.params.shard_number, info.config.params.replication_factor) == (4, 2)
    assert json.loads(info.config.quantization_config.model_dump_json())["scalar"]["type"] == "int8"  # type: ignore[union-attr]


@pytest.mark.parametrize("after", [False, True], ids=["refused", "carried out, answer lost"])
@pytest.mark.parametrize("call", ["PUT /collections/[^/]+$", "PUT .*/points$", "PUT .*/index$", "POST .*/scroll$"])
def test_a_server_that_fails_now_and_then_does_not_spoil_a_build(
    remote: Workplace, double: QdrantDouble, call: str, after: bool
) -> None:
    encoder, chunks = WordEncoder(), chunks_of(60)
    double.fail(call, times=3, status=503, after=after)
    built = remote.build(plan_of(encoder, chunks), chunks, encoder)
    assert remote.ids(built.collection) == {chunk.chunk_id for chunk in chunks}


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks, pauses = WordEncoder(), chunks_of(10), []
    double.fail("PUT .*/points$", times=2, status=429, Retry_After="3")
    retries = type(QUICK)(attempts=4, base_s=0.001, cap_s=10, sleep=pauses.append)
    build_collection(
        remote.client,
        plan_of(encoder, chunks),
        chunks=chunks,
        vectors=encoder.encode_passages(texts_of(chunks)),
        retries=retries,
    )
    assert pauses == [3.0, 3.0]


def test_a_server_that_stays_down_ends_the_build_with_what_to_do(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(60)
    double.fail("PUT .*/points$", times=1_000, status=500)
    with pytest.raises(StoreUnavailableError, match=r"upload of \d+ points.*Check that the server is up"):
        remote.build(plan_of(encoder, chunks), chunks, encoder)
    double.faults.clear()
    assert remote.build(plan_of(encoder, chunks), chunks, encoder).point_count == 60


def test_a_request_that_can_never_succeed_is_not_repeated(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(5)
    double.fail("PUT /collections/[^/]+$", times=1_000, status=403)
    with pytest.raises(Exception, match="403"):
        remote.build(plan_of(encoder, chunks), chunks, encoder)
    assert double.count("PUT /collections/[^/]+$") == 1


def test_uploads_run_in_parallel_but_not_without_bound(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(120)
    double.delays.append(("PUT .*/points$", 0.05))
    settings = BuildSettings(batch_size=10, parallel=4)
    built = remote.build(plan_of(encoder, chunks, settings=settings), chunks, encoder)
    assert built.uploaded_count == 120
    assert built.duration_s < 12 * 0.05 + 0.5
