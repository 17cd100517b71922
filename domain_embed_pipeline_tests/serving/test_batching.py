from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from domain_embed_pipeline.serving.batching import MicroBatcher, QueueFullError


class Doubler:
    """Twice the number; a text cannot be doubled. Waits at a gate, so that tests decide when a pass ends."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, requests: Sequence[object]) -> list[int]:
        self.batches.append(list(requests))
        self.gate.wait(5)
        return [2 * int(request) for request in requests]  # type: ignore[call-overload]


async def until(condition: object) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never came true")


def test_each_request_gets_its_own_answer_and_what_waits_goes_together() -> None:
    async def run() -> None:
        work = Doubler()
        work.gate.clear()
        batcher: MicroBatcher[int, int] = MicroBatcher(work, batch_size=8, queue_limit=100)
        batcher.start()
        first = asyncio.create_task(batcher.submit(0))
        await until(lambda: work.batches)
        others = [asyncio.create_task(batcher.submit(number)) for number in range(1, 13)]
        await until(lambda: batcher.waiting == 12)
        work.gate.set()
        assert await first == 0
        assert await asyncio.gather(*others) == [2 * number for number in range(1, 13)]
        assert [len(batch) for batch in work.batches] == [1, 8, 4]
        await batcher.stop()

    asyncio.run(run())


def test_one_request_that_fails_does_not_fail_the_others_of_its_batch() -> None:
    async def run() -> None:
        work = Doubler()
        work.gate.clear()
        batcher: MicroBatcher[object, int] = MicroBatcher(work, batch_size=8, queue_limit=100)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(0))]
        await until(lambda: work.batches)
        tasks += [asyncio.create_task(batcher.submit(request)) for request in (1, "text", 3)]
        await until(lambda: batcher.waiting == 3)
        work.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answers[0], answers[1], answers[3]] == [0, 2, 6]
        assert isinstance(answers[2], ValueError)
        await batcher.stop()

    asyncio.run(run())


def test_more_than_may_wait_is_refused_at_once() -> None:
    async def run() -> None:
        work = Doubler()
        work.gate.clear()
        batcher: MicroBatcher[int, int] = MicroBatcher(work, batch_size=1, queue_limit=2)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(1))]
        await until(lambda: work.batches)
        tasks += [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
        await until(lambda: batcher.waiting == 2)
        with pytest.raises(QueueFullError):
            await batcher.submit(4)
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        await batcher.stop()

    asyncio.run(run())


def test_nothing_is_done_for_whoever_gave_up() -> None:
    async def run() -> None:
        work = Doubler()
        work.gate.clear()
        batcher: MicroBatcher[int, int] = MicroBatcher(work, batch_size=4, queue_limit=10)
        batcher.start()
        first = asyncio.create_task(batcher.submit(1))
        await until(lambda: work.batches)
        gone, stays = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
        await until(lambda: batcher.waiting == 2)
        gone.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert (await first, await stays) == (2, 6)
        assert work.batches == [[1], [3]]
        await batcher.stop()

    asyncio.run(run())


def test_whoever_still_waits_at_the_end_is_told() -> None:
    async def run() -> None:
        work = Doubler()
        work.gate.clear()
        batcher: MicroBatcher[int, int] = MicroBatcher(work, batch_size=1, queue_limit=10)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
        await until(lambda: work.batches)
        stopping = asyncio.create_task(batcher.stop())
        work.gate.set()
        await stopping
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)

    asyncio.run(run())
