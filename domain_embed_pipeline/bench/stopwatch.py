"""Seconds by stage and peak memory of this process.

What does not belong here: what the stages do.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec

if TYPE_CHECKING:
    import numpy as np


class Stopwatch:
    """Wall seconds by stage. A stage inside another takes its time from the outer one, so nothing counts twice."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside under `name`."""
        self._book()
        self._running.append(name)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def _book(self) -> None:
        now = self._clock()
        if self._running:
            stage = self._running[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


class TimedEncoder:
    """An encoder whose passages are counted and whose time goes to the stage `encode`; queries are not timed."""

    def __init__(self, inner: Encoder, watch: Stopwatch, count: Callable[[int], None]) -> None:
        self._inner, self._watch, self._count = inner, watch, count

    @property
    def spec(self) -> EncoderSpec:
        """What decides the vectors."""
        return self._inner.spec

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of queries, shape (len(texts), dimension)."""
        return self._inner.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of passages, shape (len(texts), dimension)."""
        self._count(len(texts))
        with self._watch.stage("encode"):
            return self._inner.encode_passages(texts)


def peak_memory_mb() -> float:
    """Most resident memory that this process ever had, in MB (10^6 bytes).

    On Linux from VmHWM: `ru_maxrss` survives exec, so there a child would report its parent's peak when that is larger.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def peak_gpu_memory_mb() -> float | None:
    """Most memory that torch had allocated on the GPU, in MB; None without a GPU, or when torch was not needed."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda.max_memory_allocated() / 1e6
