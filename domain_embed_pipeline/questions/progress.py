"""How far a run is, for a person who watches it.

What does not belong here: drawing (the caller's callback does that).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """State and age of one batch; its own counters stay 0 until it ends, so there is no percentage."""

    batch_id: str
    state: str
    age_s: float
    request_count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a running question step."""

    done: int
    """Chunks that need no more asking, those from the ledger included."""
    total: int
    questions: int
    """Questions received in this run."""
    questions_per_s: float
    cost_usd: float
    eta_s: float | None
    """Seconds to go at the pace so far; None before the first answer."""
    batches: tuple[BatchProgress, ...] = ()

    def __str__(self) -> str:
        eta = "unknown" if self.eta_s is None else f"{self.eta_s:.0f} s"
        waiting = "".join(
            f"; {batch.batch_id}: {batch.state}, {batch.request_count} requests, {batch.age_s:.0f} s old"
            for batch in self.batches
        )
        return (
            f"{self.done}/{self.total} chunks, {self.questions} questions, {self.questions_per_s:.1f} questions/s, "
            f"${self.cost_usd:.4f}, to go: {eta}{waiting}"
        )


class ProgressReporter:
    """Counts answers and tells the callback, at most every `every_s` seconds."""

    def __init__(
        self,
        total: int,
        done: int,
        *,
        callback: Callable[[Progress], None] | None = None,
        every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._done_before, self._callback = total, done, callback
        self._every_s, self._clock = every_s, clock
        self._lock = threading.Lock()
        self._started = clock()
        self._told = self._logged = self._started
        self._finished: set[str] = set()
        self._questions = 0

    def answered(self, chunk_id: str, questions: int) -> None:
        """A chunk has its answer."""
        with self._lock:
            self._finished.add(chunk_id)
            self._questions += questions

    def now(self, cost_usd: float, batches: tuple[BatchProgress, ...] = ()) -> Progress:
        """How things stand."""
        elapsed = max(self._clock() - self._started, 1e-6)
        with self._lock:
            finished, questions = len(self._finished), self._questions
        done = self._done_before + finished
        eta = (self._total - done) * elapsed / finished if finished else None
        return Progress(done, self._total, questions, questions / elapsed, cost_usd, eta, batches)

    def tell(self, cost_usd: float, batches: tuple[BatchProgress, ...] = (), *, force: bool = False) -> None:
        """Call the callback and, more rarely, log one line, if it is time."""
        moment = self._clock()
        if force or moment - self._told >= self._every_s:
            self._told = moment
            if self._callback is not None:
                self._callback(self.now(cost_usd, batches))
        if moment - self._logged >= _LOG_EVERY_S:
            self._logged = moment
            logger.info("Questions: %s", self.now(cost_usd, batches))
