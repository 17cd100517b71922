"""Many small requests in few passes of the encoder.

What belongs here: collecting what arrives while the encoder is busy. What does not: HTTP, encoders.

No request waits for others to come: a pass takes whatever has queued up during the pass before it, so batches grow with
load by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain_embed_pipeline.errors import DomainEmbedError

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class QueueFullError(DomainEmbedError):
    """More requests wait than the service was set up for."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Request, Answer]):
    request: Request
    answer: asyncio.Future[Answer]


class MicroBatcher(Generic[Request, Answer]):
    """Hands requests to `work` in batches, one batch at a time, in a thread of its own."""

    def __init__(
        self,
        work: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        batch_size: int,
        queue_limit: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Nothing runs before `start`.

        Args:
            work: Answers of requests, in their order.
            batch_size: Requests in one pass.
            queue_limit: Requests that may wait; more are refused.
            on_batch: Told the size of each batch.
        """
        self._work = work
        self._batch_size = batch_size
        self._queue_limit = queue_limit
        self._on_batch = on_batch
        self._queue: asyncio.Queue[_Waiting[Request, Answer]] = asyncio.Queue()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests that no pass has taken yet."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin to work; to be called in the event loop that will submit."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take no more; whoever has no answer yet gets a `CancelledError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait().answer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def submit(self, request: Request) -> Answer:
        """The answer to one request.

        Raises:
            QueueFullError: If `queue_limit` requests wait already.
        """
        if self._queue.qsize() >= self._queue_limit:
            raise QueueFullError(f"{self._queue_limit} requests are waiting.", fix="Ask again a little later.")
        waiting: _Waiting[Request, Answer] = _Waiting(request, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.answer

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._batch_size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            # Whoever gave up meanwhile is not worked for.
            batch = [waiting for waiting in batch if not waiting.answer.done()]
            if batch:
                self._on_batch(len(batch))
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Waiting[Request, Answer]]) -> None:
        try:
            answers = await self._in_thread([waiting.request for waiting in batch])
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.answer.cancel()
            raise
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0].answer, error)
                return
            # One request may have spoilt it for all: each alone, then only that one fails.
            logger.warning("A batch of %d failed (%s); its requests are tried one by one.", len(batch), error)
            for waiting in batch:
                await self._answer([waiting])
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    async def _in_thread(self, requests: Sequence[Request]) -> Sequence[Answer]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, requests)


def _fail(answer: asyncio.Future[Answer], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
