"""`kill -9` in the middle of build, verification, swap and pruning.

A child process is killed at a chosen write (embedded) or request (server). Afterwards the alias must lead to a
complete, verified collection, and the same work, started again, must finish without writing again what was there.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.serving.alias import current_target, prune
from domain_embed_pipeline.serving.metadata import collections_of, read_metadata
from domain_embed_pipeline.serving.records import BuildSettings, CollectionPlan
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.store import QdrantSettings
from domain_embed_pipeline_tests.serving.conftest import Place, Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import (
    ALIAS,
    HYBRID,
    QUICK,
    WordEncoder,
    chunks_of,
    dense_ranking,
    plan_of,
)

OLDEST, OLD, NEW = (WordEncoder(f"model-{number}", seed=number) for number in (1, 2, 3))
CHUNKS = chunks_of(40)
QUERY = "how do I clean the pump"
KILLED = -signal.SIGKILL


def plan_for(encoder: WordEncoder) -> CollectionPlan:
    settings = BuildSettings(batch_size=8, parallel=1)
    mode = HYBRID if encoder is OLD else plan_of(encoder, CHUNKS).mode
    return plan_of(encoder, CHUNKS, mode=mode, settings=settings)


def release(place: Place) -> int:
    """What a pipeline run does: build, verify, swap, prune. Returns how many points it wrote."""
    with place.open() as workplace:
        built = workplace.build_verified(plan_for(NEW), CHUNKS, NEW)
        if current_target(workplace.client, ALIAS, retries=QUICK) != built.collection:
            workplace.swap(built.collection)
        prune(workplace.client, ALIAS, 0, lock_folder=place.lock_folder, retries=QUICK)
        return built.uploaded_count


def prepare(place: Place) -> None:
    """Two collections went live before: one is live, one is to be pruned."""
    for encoder in (OLDEST, OLD):
        place.go_live(plan_for(encoder), CHUNKS, encoder)


def in_child(work: Callable[[], Any]) -> int:
    """Exit status of a child process that does the work; negative when a signal killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stored_count(workplace: Workplace, name: str) -> int:
    names = {row.name for row in workplace.client.get_collections().collections}
    return workplace.client.count(name).count if name in names else 0


def require_sound(place: Place) -> None:
    """The alias leads to a complete and verified collection, and a reader gets that collection's answers."""
    with place.open() as workplace:
        metadata = read_metadata(workplace.client, ALIAS, retries=QUICK)
        assert metadata is not None and metadata.state == "verified"
        assert workplace.ids(ALIAS) == {chunk.chunk_id for chunk in CHUNKS}
        for row in collections_of(workplace.client, ALIAS, retries=QUICK):
            complete = workplace.client.count(row.collection).count == len(CHUNKS)
            assert complete or row.state != "verified", "a rollback would serve a collection that lost its points"
    encoders = {encoder.spec.model_version: encoder for encoder in (OLDEST, OLD, NEW)}
    with Retriever(place.settings, ALIAS, lambda spec: encoders[spec.model_version], retries=QUICK) as retriever:
        hits = retriever.search(QUERY, k=5)
    assert {hit.model_version for hit in hits} == {metadata.model_version}
    if metadata.mode.kind == "dense":
        expected = dense_ranking(encoders[metadata.model_version], CHUNKS, QUERY)[:5]
        assert [hit.chunk_id for hit in hits] == expected


def require_recovery(place: Place) -> None:
    """The same run again finishes, writes only what was missing, and leaves one collection."""
    with place.open() as workplace:
        already = stored_count(workplace, f"{ALIAS}__model-3__corpus-1")
    assert release(place) == len(CHUNKS) - already
    require_sound(place)
    with place.open() as workplace:
        assert [row.model_version for row in collections_of(workplace.client, ALIAS, retries=QUICK)] == ["model-3"]
        assert len(workplace.client.get_collections().collections) == 1


# --- embedded ---


def count_writes(on_write: Callable[[], None]) -> None:
    """Call `on_write` before and after everything by which the embedded store changes the disk. Child process only."""
    import shutil

    from qdrant_client.local.persistence import CollectionPersistence
    from qdrant_client.local.qdrant_local import QdrantLocal

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            on_write()
            result = function(*arguments, **named)
            on_write()
            return result

        return call

    for owner, name in (
        (CollectionPersistence, "persist"),
        (CollectionPersistence, "delete"),
        (QdrantLocal, "_save"),
        (shutil, "rmtree"),
    ):
        setattr(owner, name, watched(getattr(owner, name)))


def killed_at_write(place: Place, moment: int) -> int:
    seen = 0

    def on_write() -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        count_writes(on_write)
        release(place)

    return in_child(work)


WRITES_OF_A_RELEASE = 102
"""Two looks (before, after) at each of 40 points and at each change of metadata, alias and collections."""


def moments(count: int, seed: int, last: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(1, last), count))


@pytest.mark.parametrize("moment", [1, 50, 89, 93])
def test_an_embedded_store_survives_a_kill(tmp_path: Path, moment: int) -> None:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=10), tmp_path / "locks")
    prepare(place)
    assert killed_at_write(place, moment) == KILLED
    require_sound(place)
    require_recovery(place)


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(30, seed=7, last=WRITES_OF_A_RELEASE))
def test_an_embedded_store_survives_a_kill_at_any_moment(tmp_path: Path, moment: int) -> None:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=10), tmp_path / "locks")
    prepare(place)
    assert killed_at_write(place, moment) in (KILLED, 0)
    require_sound(place)
    require_recovery(place)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_gets_there(tmp_path: Path) -> None:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=10), tmp_path / "locks")
    prepare(place)
    deaths = 0
    while killed_at_write(place, 15) == KILLED:
        deaths += 1
        require_sound(place)
        assert deaths < 40
    assert deaths >= 5
    require_recovery(place)


# --- server ---


@pytest.fixture
def killer(double: QdrantDouble) -> Iterator[Callable[[Place, int, bool], int]]:
    """Kills the child at its n-th request, before or after the server carries it out."""

    def killed_at_request(place: Place, moment: int, after: bool) -> int:
        child: list[int] = []
        seen = 0

        def on_request(_: str, is_after: bool) -> None:
            nonlocal seen
            seen += is_after == after
            if seen == moment and is_after == after:
                os.kill(child[0], signal.SIGKILL)

        reading, writing = os.pipe()
        child.append(os.fork())
        if child[0] == 0:
            os.read(reading, 1)
            try:
                release(place)
            except BaseException:
                os._exit(1)
            os._exit(0)
        double.on_request = on_request
        os.write(writing, b"g")
        status = os.waitstatus_to_exitcode(os.waitpid(child[0], 0)[1])
        double.on_request = None
        os.close(reading)
        os.close(writing)
        return status

    yield killed_at_request
    double.on_request = None


REQUESTS_OF_A_RELEASE = 59


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", [16, 45, 56])
def test_a_server_survives_a_kill_of_its_client(
    double: QdrantDouble, tmp_path: Path, killer: Callable[[Place, int, bool], int], moment: int, after: bool
) -> None:
    place = Place(QdrantSettings(url=double.url), tmp_path / "locks")
    prepare(place)
    assert killer(place, moment, after) == KILLED
    require_sound(place)
    require_recovery(place)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", moments(30, seed=11, last=REQUESTS_OF_A_RELEASE))
def test_a_server_survives_a_kill_of_its_client_at_any_moment(
    double: QdrantDouble, tmp_path: Path, killer: Callable[[Place, int, bool], int], moment: int, after: bool
) -> None:
    place = Place(QdrantSettings(url=double.url), tmp_path / "locks")
    prepare(place)
    assert killer(place, moment, after) in (KILLED, 0)
    require_sound(place)
    require_recovery(place)
