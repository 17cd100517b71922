"""Small pieces of work, one a core, instead of one piece on all cores.

A batch whose activations stay in the cache is too small to be shared out: on two cores, a batch each made
all-MiniLM-L6-v2 1.15 times as fast as both cores on one (docs/measurements.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

from domain_embed_pipeline.sequences import map_in_threads

T = TypeVar("T")


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
    one_core = functools.partial(torch.set_num_threads, 1)
    try:
        for _ in map_in_threads(work, items, threads, name="core", initializer=one_core):
            pass
    finally:
        # The threads have told torch that new threads of any kind shall have one core.
        torch.set_num_threads(threads)
