"""A process that is killed with SIGKILL at random moments, and the next one that goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import GeneratedQuestions, generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import batches
from domain_embed_pipeline.questions.prompt import answer_key_of
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer
from domain_embed_pipeline_tests.questions import kill_target
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks

# Children are forked from a process that has everything imported and no thread, so a start takes no second.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["anthropic", "sqlalchemy.dialects.sqlite", kill_target.__name__])


def start(server: FakeMessagesServer, ledger_url: str, count: int, changes: dict[str, Any]) -> BaseProcess:
    process = _PROCESSES.Process(target=kill_target.run, args=(server.base_url, ledger_url, count, changes))
    process.start()
    return process


def kill_when(process: BaseProcess, condition: Callable[[], bool], *, timeout_s: float = 60.0) -> bool:
    """Kill the process as soon as the condition holds; False when it ended before."""
    deadline = time.monotonic() + timeout_s
    while process.is_alive() and not condition():
        assert time.monotonic() < deadline, "the process neither ended nor got to the point"
        time.sleep(0.002)
    if not process.is_alive():
        return False
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return True


def finish(server: FakeMessagesServer, ledger: Ledger, count: int, changes: dict[str, Any]) -> GeneratedQuestions:
    client = MessagesClient(api_key=KEY, base_url=server.base_url)
    return generate_questions(make_chunks(count), settings=fast(**changes), ledger=ledger, client=client)


def undisturbed(tmp_path: Path, count: int) -> GeneratedQuestions:
    with FakeMessagesServer() as server, Ledger(f"sqlite:///{tmp_path}/undisturbed.sqlite") as ledger:
        return finish(server, ledger, count, {"mode": "batch"})


def answers_in(ledger: Ledger, count: int) -> int:
    chunk_ids = [chunk.chunk_id for chunk in make_chunks(count)]
    return sum(map(len, ledger.answers(answer_key_of(fast()), chunk_ids).values()))


@pytest.mark.parametrize(("count", "kills"), [(48, 3), pytest.param(500, 20, marks=pytest.mark.slow)])
def test_kills_while_asking_directly_lose_no_more_than_what_was_in_flight(
    ledger_url: str, tmp_path: Path, count: int, kills: int
) -> None:
    moments = random.Random(7)
    concurrency = 8
    changes = {"max_concurrency": concurrency}
    thresholds = sorted(moments.sample(range(2, count - 2), kills))
    lost = 0
    with FakeMessagesServer(latency_s=0.02) as server, Ledger(ledger_url) as ledger:
        for threshold in thresholds:
            process = start(server, ledger_url, count, changes)
            killed = kill_when(process, lambda goal=threshold + lost: len(server.paid) >= goal)
            assert killed
            time.sleep(0.1)  # Requests that reached the server are carried out and billed.
            lost_now = len(server.paid) - answers_in(ledger, count) - lost
            assert 0 <= lost_now <= concurrency
            lost += lost_now
        result = finish(server, ledger, count, changes)
        assert len(server.paid) == count + lost <= count + kills * concurrency
        assert answers_in(ledger, count) == count
    expected = undisturbed(tmp_path, count)
    assert result.questions == expected.questions
    assert result.questions_version == expected.questions_version
    assert (result.unanswered, result.refusals) == (0, ())


@pytest.mark.parametrize(("count", "kills"), [(60, 4), pytest.param(500, 20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_of_a_batch_run_pay_for_nothing_twice(
    ledger_url: str, tmp_path: Path, count: int, kills: int
) -> None:
    """Killed before, while and after batches are created, while they run, and while results stream in."""
    moments = random.Random(11)
    changes = {"mode": "batch", "batch_max_requests": max(10, count // 8), "batch_adopt_grace_s": 1.0}
    with FakeMessagesServer(batch_seconds=1.0) as server, Ledger(ledger_url) as ledger:
        server.lose_next_creates = 1
        killed = 0
        for _ in range(kills):
            process = start(server, ledger_url, count, changes)
            until = time.monotonic() + moments.uniform(0.05, 1.5)
            killed += kill_when(process, lambda until=until: time.monotonic() >= until)
        assert killed >= min(2, kills)
        result = finish(server, ledger, count, changes)
        direct = sum(paid.via == "direct" for paid in server.paid)
        # Each process may ask one question directly before it creates a batch; that one can be in flight at the kill.
        assert len(server.paid) <= count + direct <= count + kills + 1
        batched = [paid.chunk_text for paid in server.paid if paid.via == "batch"]
        assert len(batched) == len(set(batched))
    expected = undisturbed(tmp_path, count)
    assert result.questions == expected.questions
    assert (result.unanswered, result.refusals) == (0, ())


@pytest.mark.parametrize("point", ["creating", "created", "collecting"])
def test_a_batch_of_a_killed_process_is_picked_up_by_another_one(ledger_url: str, point: str) -> None:
    count = 30
    changes = {"mode": "batch", "batch_adopt_grace_s": 1.0}
    with FakeMessagesServer(batch_seconds=0.3) as server, Ledger(ledger_url) as ledger:
        # The creation is carried out but its answer never arrives: the process is killed while it waits for it.
        if point == "creating":
            server.create_batch = _then_hang(server.create_batch)  # type: ignore[method-assign]
        process = start(server, ledger_url, count, changes)
        reached = {
            "creating": lambda: bool(server.batches),
            "created": lambda: bool(server.batches) and "created" in batch_states(ledger),
            "collecting": lambda: answers_in(ledger, count) > 1,
        }[point]
        assert kill_when(process, reached)
        left = count - answers_in(ledger, count)
        result = finish(server, ledger, count, changes)
        assert len(server.batches) == 1
        assert sorted(server.paid_texts()) == sorted(chunk.text for chunk in make_chunks(count))
        assert result.unanswered == 0
        # Results that were stored but not yet ticked off are read again, and stored once.
        assert left <= result.answers_paid <= 29
        assert answers_in(ledger, count) == count


def batch_states(ledger: Ledger) -> set[str]:
    return {row.state for row in ledger.read(sa.select(batches.c.state))}


def _then_hang(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def create_and_hang(requests: Any) -> Any:
        batch = create(requests)
        time.sleep(2.0)
        return batch

    return create_and_hang
