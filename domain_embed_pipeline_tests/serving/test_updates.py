from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from domain_embed_pipeline.errors import EncoderMismatchError, ServingError
from domain_embed_pipeline.records import Chunk, Corpus
from domain_embed_pipeline.serving import updates
from domain_embed_pipeline.serving.alias import rollback
from domain_embed_pipeline.serving.metadata import read_metadata
from domain_embed_pipeline.serving.records import BuildSettings, Reconciliation
from domain_embed_pipeline.serving.updates import reconcile_collection
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import ALIAS, HYBRID, QUICK, WordEncoder, chunks_of, plan_of


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "BATCH_SIZE", 16)


def reconcile(
    workplace: Workplace, chunks: Sequence[Chunk], encoder: WordEncoder, name: str = ALIAS, version: str = "corpus-2"
) -> Reconciliation:
    return reconcile_collection(
        workplace.client, name, Corpus(version, tuple(chunks), (), (), 0), encoder=encoder, retries=QUICK
    )


def ids_of(chunks: Sequence[Chunk]) -> set[str]:
    return {chunk.chunk_id for chunk in chunks}


def test_adds_edits_and_deletions_leave_exactly_the_corpus(workplace: Workplace) -> None:
    encoder, before = WordEncoder(), chunks_of(60)
    live = workplace.go_live(plan_of(encoder, before, mode=HYBRID), before, encoder)
    moved = [replace(chunk, document_ids=("moved.md",)) for chunk in before[10:14]]
    after = [*before[14:], *moved, *chunks_of(25, start=200)]
    encoder.encoded = 0

    result = reconcile(workplace, after, encoder)
    assert (result.added, result.updated, result.deleted, result.unchanged) == (25, 4, 10, 46)
    assert encoder.encoded == 25
    assert workplace.ids(live.collection) == ids_of(after)
    records, _ = workplace.client.scroll(live.collection, limit=1_000, with_vectors=True)
    sources = {(row.payload or {})["chunk_id"]: (row.payload or {})["source"] for row in records}
    assert {sources[chunk.chunk_id] for chunk in moved} == {"moved.md"}
    assert all(isinstance(row.vector, dict) and set(row.vector) == {"dense", "bm25"} for row in records)


def test_a_second_reconciliation_changes_and_encodes_nothing(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(30)
    workplace.go_live(plan_of(encoder, chunks), chunks[:20], encoder)
    reconcile(workplace, chunks, encoder)
    encoder.encoded = 0
    again = reconcile(workplace, chunks, encoder)
    assert (again.added, again.updated, again.deleted, again.unchanged, encoder.encoded) == (0, 0, 0, 30, 0)


def test_the_catch_up_is_noted_and_the_collection_stays_fit_to_serve(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(12)
    live = workplace.go_live(plan_of(encoder, chunks), chunks, encoder)
    reconcile(workplace, chunks[:7], encoder)
    metadata = read_metadata(workplace.client, live.collection, retries=QUICK)
    assert metadata is not None
    assert (metadata.corpus_version, metadata.content_version, metadata.point_count) == ("corpus-1", "corpus-2", 7)
    assert metadata.state == "verified"


def test_vectors_of_another_model_are_never_added(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(10)
    live = workplace.go_live(plan_of(encoder, chunks[:5]), chunks[:5], encoder)
    with pytest.raises(EncoderMismatchError, match="model-b"):
        reconcile(workplace, chunks, WordEncoder("model-b", seed=9))
    assert len(workplace.ids(live.collection)) == 5


def test_an_empty_corpus_does_not_empty_the_index(workplace: Workplace) -> None:
    encoder, chunks = WordEncoder(), chunks_of(5)
    live = workplace.go_live(plan_of(encoder, chunks), chunks, encoder)
    with pytest.raises(ServingError, match="is empty"):
        reconcile(workplace, [], encoder)
    assert len(workplace.ids(live.collection)) == 5


def test_a_collection_of_somebody_else_is_never_changed(workplace: Workplace) -> None:
    workplace.client.create_collection("theirs", vectors_config={})
    with pytest.raises(ServingError, match="not made by this pipeline"):
        reconcile(workplace, chunks_of(2), WordEncoder(), "theirs")


def test_what_changed_during_a_rebuild_is_caught_up_before_and_after_the_swap(workplace: Workplace) -> None:
    old, new, at_start = WordEncoder("model-a", seed=1), WordEncoder("model-b", seed=2), chunks_of(60)
    live = workplace.go_live(plan_of(old, at_start), at_start, old)
    rebuilt = workplace.build_verified(plan_of(new, at_start), at_start, new)

    during = [*at_start[8:], *chunks_of(5, start=300)]
    reconcile(workplace, during, old)
    assert workplace.ids(live.collection) == ids_of(during)
    reconcile(workplace, during, new, rebuilt.collection)
    workplace.swap(rebuilt.collection)
    after = during[3:]
    reconcile(workplace, after, new)
    assert workplace.ids(ALIAS) == ids_of(after)


def test_after_a_rollback_a_catch_up_brings_the_old_collection_to_the_present(workplace: Workplace) -> None:
    old, new, chunks = WordEncoder("model-a", seed=1), WordEncoder("model-b", seed=2), chunks_of(20)
    workplace.go_live(plan_of(old, chunks), chunks, old)
    workplace.go_live(plan_of(new, chunks), chunks, new)
    present = [*chunks[5:], *chunks_of(2, start=400)]
    reconcile(workplace, present, new)
    rollback(workplace.client, ALIAS, lock_folder=workplace.lock_folder, retries=QUICK)
    result = reconcile(workplace, present, old)
    assert (result.added, result.deleted) == (2, 5)
    assert workplace.ids(ALIAS) == ids_of(present)


def test_no_passage_is_missing_from_the_index_while_it_is_edited(remote: Workplace, double: QdrantDouble) -> None:
    """An edit is a new chunk and the loss of the old one; in between both are there, never neither."""
    encoder, chunks = WordEncoder(), chunks_of(20)
    remote.go_live(plan_of(encoder, chunks), chunks, encoder)
    start = len(double.requests)
    reconcile(remote, [*chunks[5:], *chunks_of(5, start=600)], encoder)
    writes = [line.split("/points")[-1] for line in double.requests[start:] if "/points" in line and "POST" not in line]
    deletions = [number for number, line in enumerate(double.requests[start:]) if line.endswith("/points/delete")]
    uploads = [number for number, line in enumerate(double.requests[start:]) if line.startswith("PUT")]
    assert writes and max(uploads) < min(deletions)


def test_another_writer_at_the_same_time_is_reported(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(10)
    live = remote.go_live(plan_of(encoder, chunks), chunks, encoder)
    (record, *_), _ = double.memory.scroll(live.collection, limit=1)

    class Interfering(WordEncoder):
        def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
            threading.Thread(target=double.memory.delete, args=(live.collection, [record.id])).run()
            return super().encode_passages(texts)

    with pytest.raises(ServingError, match="lacks 1 after a catch-up"):
        reconcile(remote, [*chunks, *chunks_of(1, start=77)], Interfering())


def test_a_server_that_fails_now_and_then_does_not_spoil_a_catch_up(remote: Workplace, double: QdrantDouble) -> None:
    encoder, chunks = WordEncoder(), chunks_of(30)
    live = remote.go_live(plan_of(encoder, chunks), chunks, encoder)
    moved = [replace(chunk, document_ids=("moved.md",)) for chunk in chunks[:3]]
    after = [*moved, *chunks[3:25], *chunks_of(3, start=500)]
    for call in ("PUT .*/points$", "POST .*/points/delete$", "POST .*/points/batch$", "PATCH "):
        double.fail(call, times=2, status=502, after=True)
    reconcile(remote, after, encoder)
    assert remote.ids(live.collection) == ids_of(after)


@pytest.mark.slow
def test_a_corpus_that_changes_throughout_a_rebuild_of_5000_chunks_is_served_exactly(
    remote: Workplace, double: QdrantDouble
) -> None:
    """Another thread plays the drop sensor: it serves what arrives in the live collection, by the live model."""
    old, new, at_start = WordEncoder("model-a", seed=1), WordEncoder("model-b", seed=2), chunks_of(5_000)
    remote.go_live(plan_of(old, at_start, settings=BuildSettings(batch_size=500)), at_start, old)
    corpus = {"now": at_start}
    building = threading.Event()
    building.set()

    def drops() -> None:
        number = 0
        while building.is_set():
            number += 1
            moved = [replace(chunk, document_ids=(f"moved-{number}.md",)) for chunk in corpus["now"][20:25]]
            fresh = chunks_of(10, start=10_000 + 10 * number)
            corpus["now"] = [*corpus["now"][25:], *moved, *fresh]
            reconcile(remote, corpus["now"], old)

    sensor = threading.Thread(target=drops)
    sensor.start()
    try:
        plan = plan_of(new, at_start, settings=BuildSettings(batch_size=100))
        rebuilt = remote.build_passed(plan, at_start, new)
    finally:
        building.clear()
        sensor.join()
    assert corpus["now"] != at_start
    before = reconcile(remote, corpus["now"], new, rebuilt.collection)
    assert before.deleted > 0 and before.added > 0 and before.updated > 0
    remote.swap(rebuilt.collection)
    corpus["now"] = [*corpus["now"][7:], *chunks_of(3, start=50_000)]
    reconcile(remote, corpus["now"], new)
    assert remote.ids(ALIAS) == ids_of(corpus["now"])
