from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from qdrant_client import models

from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import ConfigurationError, EncoderMismatchError, ServingError, StoreLockedError
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.serving.records import BuildSettings, SearchRequest
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.store import QdrantSettings
from domain_embed_pipeline.serving.updates import reconcile_collection
from domain_embed_pipeline_tests.serving.conftest import Place, Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import (
    ALIAS,
    DENSE,
    HYBRID,
    QUICK,
    SPARSE,
    WordEncoder,
    chunks_of,
    dense_ranking,
    plan_of,
)

CHUNKS = chunks_of(60)
OLD, NEW = WordEncoder("model-old", seed=1), WordEncoder("model-new", seed=2)
QUERY = "how do I clean the pump"


class Registry:
    """Finds encoders by model version and counts how often it is asked."""

    def __init__(self, *encoders: WordEncoder) -> None:
        self.encoders = {encoder.spec.model_version: encoder for encoder in encoders}
        self.loads: list[str] = []

    def __call__(self, spec: EncoderSpec) -> WordEncoder:
        self.loads.append(spec.model_version)
        return self.encoders[spec.model_version]


def live(place: Place, encoder: WordEncoder, mode: RetrievalMode = DENSE, count: int = 60) -> str:
    chunks = CHUNKS[:count]
    return place.go_live(plan_of(encoder, chunks, mode=mode), chunks, encoder)


def retriever_of(place: Place, *encoders: WordEncoder, **options: float | bool) -> Retriever:
    return Retriever(place.settings, ALIAS, Registry(*encoders), retries=QUICK, **options)  # type: ignore[arg-type]


def test_a_search_finds_what_brute_force_finds(place: Place) -> None:
    name = live(place, OLD)
    with retriever_of(place, OLD) as retriever:
        hits = retriever.search(QUERY, k=5)
    assert [hit.chunk_id for hit in hits] == dense_ranking(OLD, CHUNKS, QUERY)[:5]
    assert {(hit.collection, hit.model_version) for hit in hits} == {(name, "model-old")}
    best = next(chunk for chunk in CHUNKS if chunk.chunk_id == hits[0].chunk_id)
    assert (hits[0].text, hits[0].title, hits[0].document_ids) == (best.text, best.title, best.document_ids)


def test_a_sparse_collection_is_asked_for_words(place: Place) -> None:
    live(place, OLD, SPARSE)
    with retriever_of(place, OLD) as retriever:
        assert retriever.search("what is procedure p41", k=3)[0].chunk_id == CHUNKS[41].chunk_id
        assert retriever.search("xylophone", k=3) == ()


@pytest.mark.parametrize("mode", [DENSE, HYBRID], ids=["dense", "hybrid"])
def test_a_quantized_collection_is_asked_to_rescore(
    remote: Workplace, double: QdrantDouble, mode: RetrievalMode
) -> None:
    settings = BuildSettings(quantization="int8")
    remote.go_live(plan_of(OLD, CHUNKS, mode=mode, settings=settings), CHUNKS, OLD)
    with retriever_of(Place(remote.settings, remote.lock_folder), OLD) as retriever:
        double.searches.clear()
        retriever.search(QUERY, k=3)
    (search,) = double.searches
    dense = search if mode is DENSE else next(part for part in search["prefetch"] if part["using"] == "dense")
    assert dense["params"]["quantization"] == {"rescore": True, "oversampling": 2.0}


def test_a_hybrid_collection_is_asked_for_both_in_one_request(remote: Workplace, double: QdrantDouble) -> None:
    remote.go_live(plan_of(OLD, CHUNKS, mode=HYBRID), CHUNKS, OLD)
    with Retriever(remote.settings, ALIAS, Registry(OLD), retries=QUICK) as retriever:
        retriever.search(QUERY)
        before = double.count("/points/")
        assert retriever.search("clean p41", k=10)
    assert double.count("/points/") == before + 1


@pytest.mark.parametrize(
    "mode",
    [
        HYBRID,
        RetrievalMode("hybrid", fusion="rrf", sparse_weight=2.0, rrf_k=60),
        RetrievalMode("hybrid", fusion="dbsf", sparse_weight=1.0),
        RetrievalMode("hybrid", fusion="dbsf", sparse_weight=0.3),
    ],
    ids=["rrf", "rrf 60", "dbsf", "weighted dbsf"],
)
def test_a_query_without_a_term_is_answered_by_the_dense_side(place: Place, mode: RetrievalMode) -> None:
    live(place, OLD, mode)
    with retriever_of(place, OLD) as retriever:
        hits = retriever.search("the of and", k=3)
        assert retriever.search("clean p41", k=3)
    assert [hit.chunk_id for hit in hits] == dense_ranking(OLD, CHUNKS, "the of and")[:3]


def test_more_can_be_asked_for_than_the_mode_takes_from_each_side(place: Place) -> None:
    live(place, OLD, RetrievalMode("hybrid", fusion="rrf", sparse_weight=0.5, prefetch=5))
    with retriever_of(place, OLD) as retriever:
        assert len(retriever.search(QUERY, k=30)) == 30


@pytest.mark.parametrize("mode", [DENSE, SPARSE, HYBRID], ids=["dense", "sparse", "hybrid"])
def test_a_filter_holds_in_every_mode(place: Place, mode: RetrievalMode) -> None:
    live(place, OLD, mode)
    with retriever_of(place, OLD) as retriever:
        wanted = retriever.search("clean the pump", k=60, filter={"source": ["manual-0.md", "manual-3.md"]})
        assert {hit.source for hit in wanted} == {"manual-0.md", "manual-3.md"}
        match = models.FieldCondition(key="chunk_id", match=models.MatchValue(value=CHUNKS[7].chunk_id))
        only = retriever.search("replace the sensor p7", filter=models.Filter(must=[match]))
        assert [hit.chunk_id for hit in only] == [CHUNKS[7].chunk_id]


def test_several_queries_are_answered_as_each_alone(place: Place) -> None:
    live(place, OLD, HYBRID)
    queries = [QUERY, "the of", "weld the hose", "p41"]
    with retriever_of(place, OLD) as retriever:
        together = retriever.search_batch(queries, k=4)
        alone = [retriever.search(query, k=4) for query in queries]
    assert [[hit.chunk_id for hit in hits] for hits in together] == [[hit.chunk_id for hit in hits] for hits in alone]


def test_each_of_several_requests_keeps_its_own_k_and_filter(place: Place) -> None:
    live(place, OLD)
    with retriever_of(place, OLD) as retriever:
        few, many = retriever.search_many([SearchRequest(QUERY, 2), SearchRequest(QUERY, 9, {"source": "manual-4.md"})])
    assert len(few) == 2
    assert len(many) == 9 and {hit.source for hit in many} == {"manual-4.md"}


def test_a_swap_changes_collection_and_encoder_together(place: Place) -> None:
    registry = Registry(OLD, NEW)
    first = live(place, OLD)
    with Retriever(place.settings, ALIAS, registry, retries=QUICK) as retriever:
        assert retriever.search(QUERY)[0].collection == first
        second = live(place, NEW, HYBRID)
        hits = retriever.search(QUERY)
        assert {(hit.collection, hit.model_version) for hit in hits} == {(second, "model-new")}
        place.rollback()
        hits = retriever.search(QUERY, k=5)
        assert [hit.chunk_id for hit in hits] == dense_ranking(OLD, CHUNKS, QUERY)[:5]
    assert registry.loads == ["model-old", "model-new", "model-old"]


def test_an_encoder_is_loaded_once_for_many_queries_and_catch_ups(place: Place) -> None:
    registry = Registry(OLD)
    live(place, OLD, count=40)
    with Retriever(place.settings, ALIAS, registry, retries=QUICK) as retriever:
        assert CHUNKS[41].chunk_id not in {hit.chunk_id for hit in retriever.search(QUERY, k=60)}
        with place.open() as workplace:
            reconcile_collection(
                workplace.client, ALIAS, Corpus("corpus-2", tuple(CHUNKS), (), (), 0), encoder=OLD, retries=QUICK
            )
        assert CHUNKS[41].chunk_id in {hit.chunk_id for hit in retriever.search(QUERY, k=60)}
    assert registry.loads == ["model-old"]


def test_an_encoder_that_is_not_the_one_of_the_index_is_refused(place: Place) -> None:
    live(place, OLD)
    retrained = WordEncoder("model-old", seed=3)
    with (
        retriever_of(place, retrained) as retriever,
        pytest.raises(EncoderMismatchError, match=r"words-1-32.*words-3-32"),
    ):
        retriever.search(QUERY)


def test_a_collection_that_does_not_name_its_encoder_is_refused(place: Place) -> None:
    with place.open() as workplace:
        vectors = {"dense": models.VectorParams(size=32, distance=models.Distance.COSINE)}
        workplace.client.create_collection(f"{ALIAS}-by-hand", vectors_config=vectors)
        create = models.CreateAlias(collection_name=f"{ALIAS}-by-hand", alias_name=ALIAS)
        workplace.client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    with retriever_of(place, OLD) as retriever, pytest.raises(EncoderMismatchError, match="does not say"):
        retriever.search(QUERY)


def test_an_alias_that_is_not_there_says_what_to_do(place: Place) -> None:
    with (
        retriever_of(place, OLD) as retriever,
        pytest.raises(ServingError, match=r"points at no collection.*first swap"),
    ):
        retriever.search(QUERY)


def test_a_collection_pruned_between_look_up_and_query_is_looked_up_again(
    remote: Workplace, double: QdrantDouble
) -> None:
    first = remote.go_live(plan_of(OLD, CHUNKS), CHUNKS, OLD).collection
    with Retriever(remote.settings, ALIAS, Registry(OLD, NEW), retries=QUICK, alias_ttl_s=3_600) as retriever:
        assert retriever.search(QUERY)[0].collection == first
        second = remote.go_live(plan_of(NEW, CHUNKS), CHUNKS, NEW).collection
        assert retriever.search(QUERY)[0].collection == first
        double.delete_collection(first, None)
        assert retriever.search(QUERY)[0].collection == second


@pytest.mark.parametrize(("query", "k"), [("", 5), ("  ", 5), (QUERY, 0), (QUERY, -1), (QUERY, 1_001)])
def test_arguments_that_make_no_sense_are_refused(place: Place, query: str, k: int) -> None:
    with retriever_of(place, OLD) as retriever, pytest.raises(ConfigurationError):
        retriever.search(query, k)


@pytest.mark.parametrize("value", [7, [], [1, 2], {"a": "b"}], ids=str)
def test_a_filter_value_of_another_kind_is_refused(place: Place, value: object) -> None:
    with retriever_of(place, OLD) as retriever, pytest.raises(ConfigurationError, match="Filter on 'source'"):
        retriever.search(QUERY, filter={"source": value})  # type: ignore[dict-item]


def test_a_server_that_fails_now_and_then_does_not_fail_a_query(remote: Workplace, double: QdrantDouble) -> None:
    remote.go_live(plan_of(OLD, CHUNKS), CHUNKS, OLD)
    with Retriever(remote.settings, ALIAS, Registry(OLD), retries=QUICK) as retriever:
        for call in ("GET /aliases", "GET /collections/", "POST .*/query/batch"):
            double.fail(call, times=2, status=503)
        assert retriever.search(QUERY)


# --- readers beside writers ---


def test_an_embedded_reader_does_not_keep_a_pipeline_run_out(place: Place) -> None:
    live(place, OLD)
    with retriever_of(place, OLD) as retriever:
        retriever.search(QUERY)
        with place.open() as workplace:
            assert retriever.search(QUERY)
            assert workplace.client.get_collections().collections


def test_an_embedded_reader_goes_on_with_its_copy_while_somebody_writes(tmp_path: Path) -> None:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=0.2), tmp_path / "locks")
    first = live(place, OLD)
    with retriever_of(place, OLD, NEW) as retriever:
        retriever.search(QUERY)
        with place.open() as workplace:
            second = workplace.go_live(plan_of(NEW, CHUNKS), CHUNKS, NEW).collection
            assert retriever.search(QUERY)[0].collection == first
        assert retriever.search(QUERY)[0].collection == second


def test_a_reader_that_has_no_copy_yet_says_who_keeps_it_out(tmp_path: Path) -> None:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=0.2), tmp_path / "locks")
    live(place, OLD)
    with place.open(), retriever_of(place, OLD) as retriever, pytest.raises(StoreLockedError):
        retriever.search(QUERY)


def test_a_new_encoder_is_loaded_while_the_old_index_goes_on_answering(place: Place) -> None:
    first = live(place, OLD)
    may_load = threading.Event()

    def load(spec: EncoderSpec) -> WordEncoder:
        if spec.model_version == "model-new":
            may_load.wait(5)
        return {"model-old": OLD, "model-new": NEW}[spec.model_version]

    with Retriever(place.settings, ALIAS, load, load_in_background=True, retries=QUICK) as retriever:
        retriever.search(QUERY)
        second = live(place, NEW)
        assert retriever.search(QUERY)[0].collection == first
        may_load.set()
        deadline = time.monotonic() + 5
        while retriever.search(QUERY)[0].collection == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert retriever.search(QUERY)[0].collection == second


def test_an_encoder_that_cannot_be_loaded_in_the_background_leaves_the_old_index_serving(place: Place) -> None:
    first = live(place, OLD)
    with retriever_of(place, OLD, load_in_background=True) as retriever:
        retriever.search(QUERY)
        live(place, NEW)
        for _ in range(5):
            assert retriever.search(QUERY)[0].collection == first
            time.sleep(0.01)


def test_no_answer_mixes_models_and_no_query_fails_while_builds_swaps_and_rollbacks_go_on(place: Place) -> None:
    """Readers at full speed; each answer must be what brute force with the model that it names finds."""
    expected = {encoder.spec.model_version: dense_ranking(encoder, CHUNKS, QUERY)[:5] for encoder in (OLD, NEW)}
    live(place, OLD)
    answers: list[tuple[str, str, list[str]]] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def read(retriever: Retriever) -> None:
        while not stop.is_set():
            try:
                hits = retriever.search(QUERY, k=5)
                (collection,) = {hit.collection for hit in hits}
                (model,) = {hit.model_version for hit in hits}
                answers.append((collection, model, [hit.chunk_id for hit in hits]))
            except Exception as error:
                failures.append(error)
            time.sleep(0.005)

    with retriever_of(place, OLD, NEW) as retriever:
        retriever.search(QUERY)
        threads = [threading.Thread(target=read, args=(retriever,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        live(place, NEW)
        time.sleep(0.1)
        place.rollback()
        time.sleep(0.1)
        with place.open() as workplace:
            workplace.swap(next(name for name in collections(workplace) if "model-new" in name))
        time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert {model for _, model, _ in answers} == {"model-old", "model-new"}
    for collection, model, chunk_ids in answers:
        assert model in collection
        assert chunk_ids == expected[model]


def collections(workplace: Workplace) -> list[str]:
    return [row.name for row in workplace.client.get_collections().collections]
