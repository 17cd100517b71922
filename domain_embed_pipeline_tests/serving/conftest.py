"""Stores to run the same tests on: the embedded folder, the loopback server, and a real server when there is one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from domain_embed_pipeline.serving.alias import rollback, swap_alias
from domain_embed_pipeline.serving.collection import build_collection
from domain_embed_pipeline.serving.metadata import write_metadata
from domain_embed_pipeline.serving.records import CollectionPlan, ServingCollection
from domain_embed_pipeline.serving.store import QdrantSettings, open_store
from domain_embed_pipeline.serving.verification import verify_collection
from domain_embed_pipeline.serving.verification_inputs import VerificationInputs, VerificationSettings
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble, running_double
from domain_embed_pipeline_tests.serving.scenario import ALIAS, QUICK, WordEncoder, texts_of

REAL_SERVER = os.environ.get("QDRANT_URL")
QUICK_LOOK = VerificationSettings(green_poll_s=0.001, latency_floor_ms=5_000, latency_queries=5, recall_queries=10)


@dataclass
class Workplace:
    """An open store with what the tests do to it all the time."""

    settings: QdrantSettings
    client: QdrantClient
    lock_folder: Path

    def build(self, plan: CollectionPlan, chunks: list, encoder: WordEncoder) -> ServingCollection:
        vectors = encoder.encode_passages(texts_of(chunks))
        return build_collection(self.client, plan, chunks=chunks, vectors=vectors, retries=QUICK)

    def build_verified(self, plan: CollectionPlan, chunks: list, encoder: WordEncoder) -> ServingCollection:
        built = self.build(plan, chunks, encoder)
        inputs = VerificationInputs(plan, chunks, encoder.encode_passages(texts_of(chunks)), encoder)
        return verify_collection(self.client, built, inputs=inputs, settings=QUICK_LOOK, retries=QUICK)

    def build_passed(self, plan: CollectionPlan, chunks: list, encoder: WordEncoder) -> ServingCollection:
        """Built and marked as verified, for tests of what comes after: verification is the slow part."""
        built = self.build(plan, chunks, encoder)
        write_metadata(self.client, built.collection, {"state": "verified"}, retries=QUICK)
        return replace(built, verified=True)

    def go_live(self, plan: CollectionPlan, chunks: list, encoder: WordEncoder) -> ServingCollection:
        built = self.build_passed(plan, chunks, encoder)
        self.swap(built.collection)
        return built

    def swap(self, collection: str) -> None:
        aliases = {row.alias_name: row.collection_name for row in self.client.get_aliases().aliases}
        swap_alias(
            self.client,
            ALIAS,
            collection,
            expected_current=aliases.get(ALIAS),
            lock_folder=self.lock_folder,
            retries=QUICK,
        )

    def ids(self, collection: str) -> set[str]:
        records, _ = self.client.scroll(collection, limit=100_000)
        return {(record.payload or {})["chunk_id"] for record in records}


@dataclass
class Place:
    """A store that is opened for each write and given up again, as pipeline runs do; readers come in between."""

    settings: QdrantSettings
    lock_folder: Path

    @contextlib.contextmanager
    def open(self) -> Iterator[Workplace]:
        with open_store(self.settings) as client:
            yield Workplace(self.settings, client, self.lock_folder)

    def go_live(self, plan: CollectionPlan, chunks: list, encoder: WordEncoder) -> str:
        with self.open() as workplace:
            return workplace.go_live(plan, chunks, encoder).collection

    def rollback(self) -> str:
        with self.open() as workplace:
            return rollback(workplace.client, ALIAS, lock_folder=self.lock_folder, retries=QUICK).collection


@pytest.fixture(params=["embedded", "loopback", *(["server"] if REAL_SERVER else [])])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "embedded":
        settings = QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=5)
    else:
        url = REAL_SERVER if request.param == "server" else request.getfixturevalue("double").url
        settings = QdrantSettings(url=url)
    place = Place(settings, tmp_path / "locks")
    yield place
    if request.param == "server":
        with place.open() as workplace:
            _clean(workplace.client)


def _clean(client: QdrantClient) -> None:
    for row in client.get_collections().collections:
        if row.name.startswith(ALIAS):
            client.delete_collection(row.name)


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with running_double() as server:
        yield server


@pytest.fixture(params=["embedded", "loopback", *(["server"] if REAL_SERVER else [])])
def workplace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workplace]:
    if request.param == "embedded":
        settings = QdrantSettings(path=str(tmp_path / "qdrant"))
    elif request.param == "loopback":
        settings = QdrantSettings(url=request.getfixturevalue("double").url)
    else:
        settings = QdrantSettings(url=REAL_SERVER)
    with open_store(settings) as client:
        yield Workplace(settings, client, tmp_path / "locks")
        if request.param == "server":
            _clean(client)


@pytest.fixture
def remote(double: QdrantDouble, tmp_path: Path) -> Iterator[Workplace]:
    settings = QdrantSettings(url=double.url, timeout_s=5)
    with open_store(settings) as client:
        yield Workplace(settings, client, tmp_path / "locks")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Workplace]:
    settings = QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=0.3)
    with open_store(settings) as client:
        yield Workplace(settings, client, tmp_path / "locks")
