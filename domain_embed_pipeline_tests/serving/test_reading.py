from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from domain_embed_pipeline.errors import StoreLockedError
from domain_embed_pipeline.serving.reading import ReadableStore, adopt_collection, copy_collection
from domain_embed_pipeline.serving.store import QdrantSettings, open_store
from domain_embed_pipeline_tests.serving.conftest import Place
from domain_embed_pipeline_tests.serving.scenario import ALIAS, HYBRID, WordEncoder, chunks_of, plan_of

ENCODER = WordEncoder()
CHUNKS = chunks_of(20)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=0.3), tmp_path / "locks")
    place.go_live(plan_of(ENCODER, CHUNKS, mode=HYBRID), CHUNKS, ENCODER)
    return place


def contents(client: QdrantClient, name: str = ALIAS) -> dict[object, object]:
    """Vectors are rounded: whoever stores one for cosine normalises it, and moves its last bit."""
    records, _ = client.scroll(name, limit=1_000, with_vectors=True)
    found: dict[object, object] = {}
    for record in records:
        assert isinstance(record.vector, dict)
        dense = np.round(record.vector["dense"], 5).tolist()
        found[record.id] = (record.payload, dense, record.vector["bm25"])
    return found


def test_a_copy_is_read_while_another_process_may_write(folder: Place) -> None:
    store = ReadableStore(folder.settings, ALIAS)
    copy = store.client()
    with folder.open() as workplace:
        assert contents(copy) == contents(workplace.client)
    store.close()


@pytest.mark.parametrize("take", [adopt_collection, copy_collection])
def test_both_ways_of_taking_a_collection_give_the_same(folder: Place, take: object) -> None:
    """Characterization: reads of an adopted collection go on after the client that loaded it is closed."""
    taken = QdrantClient(":memory:")
    with open_store(folder.settings) as source:
        name = source.get_aliases().aliases[0].collection_name
        expected, metadata = contents(source), source.get_collection(name).config.metadata
        assert take(source, taken, name) is not False  # type: ignore[operator]
    assert contents(taken, name) == expected
    assert taken.get_collection(name).config.metadata == metadata
    vector = ENCODER.encode_queries(["clean the pump"])[0]
    assert len(taken.query_points(name, query=vector, using="dense", limit=5).points) == 5


def test_a_client_that_keeps_its_collections_elsewhere_is_copied_from(folder: Place) -> None:
    with open_store(folder.settings) as source:
        assert not adopt_collection(source, QdrantClient(":memory:"), "not there")


def test_an_unchanged_folder_is_not_read_again(folder: Place) -> None:
    store = ReadableStore(folder.settings, ALIAS)
    first = store.client()
    with folder.open():
        assert store.client() is first
    assert store.client() is first


def test_a_changed_folder_is_read_in_the_background_while_the_copy_serves(folder: Place) -> None:
    store = ReadableStore(folder.settings, ALIAS, in_background=True)
    first = store.client()
    with folder.open() as workplace:
        workplace.client.delete(ALIAS, [next(iter(contents(workplace.client)))])
    assert store.client().count(ALIAS).count >= 19
    deadline = time.monotonic() + 5
    while store.client() is first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.client().count(ALIAS).count == 19
    assert first.count(ALIAS).count == 20


def test_a_folder_without_the_alias_gives_a_client_without_it(tmp_path: Path) -> None:
    store = ReadableStore(QdrantSettings(path=str(tmp_path / "empty")), ALIAS)
    assert store.client().get_aliases().aliases == []


def test_a_first_look_at_a_folder_in_use_is_refused(folder: Place) -> None:
    with folder.open(), pytest.raises(StoreLockedError):
        ReadableStore(folder.settings, ALIAS).client()
