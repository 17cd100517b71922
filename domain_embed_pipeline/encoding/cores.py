"""Small pieces of work, one a core, instead of one piece on all cores.

A batch whose activations stay in the cache is too small to be shared out: on two cores, a batch each made
all-MiniLM-L6-v2 1.15 times as fast as both cores on one (docs/measurements.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_WAITING = 2
"""Items that wait for each thread, so that no more than a few are in memory."""


def each_on_a_core(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Call `work` once for each item, in as many threads as torch computes with here, each on one core.

    Raises:
        Exception: What `work` raised first; items that wait are then left alone.
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        for item in items:
            work(item)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="core", initializer=torch.set_num_threads, initargs=(1,))
    running: deque[Future[None]] = deque()
    try:
        for item in items:
            if len(running) >= threads * (1 + _WAITING):
                running.popleft().result()
            running.append(pool.submit(work, item))
        for future in running:
            future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # The threads of the pool have told torch that new threads of any kind shall have one core.
        torch.set_num_threads(threads)
