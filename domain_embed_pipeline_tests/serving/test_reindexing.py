"""Readers notice nothing: 20 queries a second and more through build, verification, swap, rollback and a second swap.

The service runs in a process of its own; the pipeline works here. Embedded: both share a folder. Server: both talk to
the loopback server, which now and then answers 429 or 500, or late.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from domain_embed_pipeline.serving.store import QdrantSettings
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.serving.conftest import Place
from domain_embed_pipeline_tests.serving.qdrant_double import Fault, QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import chunks_of, dense_ranking, plan_of
from domain_embed_pipeline_tests.serving.service_process import ENCODERS

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

CHUNKS = chunks_of(400)
OLD, NEW = ENCODERS["model-old"], ENCODERS["model-new"]
QUERIES = [f"how do I {action} the {subject}" for action in ("clean", "weld", "paint") for subject in ("pump", "hose")]
EXPECTED = {
    (model, query): dense_ranking(encoder, CHUNKS, query)[:5]
    for model, encoder in ENCODERS.items()
    for query in QUERIES
}
READERS = 12
AT_LEAST_PER_S = 20.0


@dataclass(frozen=True)
class Answer:
    reader: int
    collection: str
    model: str
    query: str
    chunk_ids: list[str]


@dataclass
class Readers:
    """Threads that query without pause and keep every answer."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    latest: dict[int, str] = field(default_factory=dict)
    """Model that answered each reader last."""
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def read(self, reader: int) -> None:
        dice = random.Random(reader)
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.stop.is_set():
                query = dice.choice(QUERIES)
                answer = client.post("/search", json={"query": query, "k": 5})
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                    continue
                hits = answer.json()["hits"]
                ((collection, model),) = {(hit["collection"], hit["model_version"]) for hit in hits}
                self.answers.append(Answer(reader, collection, model, query, [hit["chunk_id"] for hit in hits]))
                self.latest[reader] = model

    def models_seen(self, reader: int) -> list[str]:
        """Model versions in the order in which they answered one reader, runs of one made one."""
        models = [answer.model for answer in self.answers if answer.reader == reader]
        return [model for place, model in enumerate(models) if place == 0 or models[place - 1] != model]


@pytest.fixture(params=["embedded", "loopback with faults"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "embedded":
        return Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=60), tmp_path / "locks")
    return Place(QdrantSettings(url=request.getfixturevalue("double").url), tmp_path / "locks")


def make_trouble(double: QdrantDouble) -> None:
    """Every twelfth request is refused, every thirtieth is carried out and its answer lost, queries are slow."""
    dice = random.Random(5)
    refused, lost = itertools.count(1), itertools.count(1)

    def take_fault(line: str, *, after: bool) -> Fault | None:
        if after:
            return None if next(lost) % 30 else Fault(".*", 1, 500)
        headers = {"Retry-After": "1"} if (status := dice.choice([429, 500, 503])) == 429 else {}
        return None if next(refused) % 12 else Fault(".*", 1, status, headers)

    double.take_fault = take_fault  # type: ignore[method-assign]
    double.delays.append(("query", 0.01))


@pytest.fixture
def service(place: Place) -> Iterator[str]:
    place.go_live(plan_of(OLD, CHUNKS), CHUNKS, OLD)
    where = place.settings.url or str(place.settings.path)
    command = [sys.executable, "-m", "domain_embed_pipeline_tests.serving.service_process", where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(readers: Readers, model: str) -> None:
    """Until every reader has been answered by the model that is live now."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if [readers.latest.get(reader) for reader in range(READERS)] == [model] * READERS:
            return
        time.sleep(0.05)
    raise AssertionError(f"{model} did not answer within a minute: {readers.failures[-3:]}")


def test_readers_notice_nothing_of_build_swap_rollback_and_a_second_swap(
    service: str, place: Place, request: pytest.FixtureRequest
) -> None:
    assert httpx.post(f"{service}/search", json={"query": QUERIES[0]}, timeout=60).status_code == 200
    readers = Readers(service)
    threads = [threading.Thread(target=readers.read, args=(seed,)) for seed in range(READERS)]
    if place.settings.url is not None:
        make_trouble(request.getfixturevalue("double"))
    # Beside other work on all cores a rate says nothing about the service.
    overloaded = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    started = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        wait_for(readers, "model-old")
        with place.open() as workplace:
            built = workplace.build_verified(plan_of(NEW, CHUNKS), CHUNKS, NEW)
            workplace.swap(built.collection)
        wait_for(readers, "model-new")
        place.rollback()
        wait_for(readers, "model-old")
        with place.open() as workplace:
            workplace.swap(built.collection)
        wait_for(readers, "model-new")
    finally:
        readers.stop.set()
        for thread in threads:
            thread.join()
    took = time.monotonic() - started
    assert readers.failures == []
    for reader in range(READERS):
        assert readers.models_seen(reader) == ["model-old", "model-new", "model-old", "model-new"]
    for answer in readers.answers:
        assert answer.model in answer.collection
        assert answer.chunk_ids == EXPECTED[(answer.model, answer.query)]
    logger.warning("%.1f queries/s over %.1f s", len(readers.answers) / took, took)
    assert len(readers.answers) >= 100
    if not overloaded:
        assert len(readers.answers) / took >= AT_LEAST_PER_S
