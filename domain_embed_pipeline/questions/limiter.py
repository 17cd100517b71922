"""The rate limiter that all requests of a run share.

Requests start at evenly spaced moments, so the rate holds over every window, not only on average. The server's
`retry-after` and rate-limit headers push the next start further away, under a ceiling of ours. What does not belong
here: how often one request is tried (`direct`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

_KINDS = ("requests", "input-tokens", "output-tokens", "tokens")


class RateLimiter:
    """Hands out moments to start a request, to any number of threads."""

    def __init__(
        self,
        requests_per_minute: float,
        *,
        ceiling_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool | None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._interval = 60.0 / requests_per_minute
        self._ceiling = ceiling_s
        self._clock, self._sleep, self._now = clock, sleep, now
        self._lock = threading.Lock()
        self._next = clock()
        self._paused_until = self._next

    @property
    def interval_s(self) -> float:
        """Seconds between two starts now; the server's own limit can lengthen it."""
        return self._interval

    def acquire(self) -> bool:
        """Wait for this thread's turn; a pause that is imposed meanwhile gives it a later one.

        Returns False, without a turn, when `sleep` says (by returning True) that the run is being stopped.
        """
        while True:
            with self._lock:
                turn = max(self._next, self._clock())
                self._next = turn + self._interval
            while (wait := turn - self._clock()) > 0:
                if self._sleep(wait):
                    return False
            if self._paused_until <= turn:
                return True

    def pause(self, seconds: float) -> float:
        """Start nothing for `seconds`, at most the ceiling; returns the pause that is kept."""
        kept = min(max(seconds, 0.0), self._ceiling)
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + kept)
            self._next = max(self._next, self._paused_until)
        return kept

    def observe(self, headers: Mapping[str, str]) -> None:
        """Heed `anthropic-ratelimit-*` headers: a lower limit slows down, an exhausted one pauses until its reset."""
        limit = _number(headers.get("anthropic-ratelimit-requests-limit"))
        if limit and 60.0 / limit > self._interval:
            with self._lock:
                self._interval = 60.0 / limit
        for kind in _KINDS:
            if _number(headers.get(f"anthropic-ratelimit-{kind}-remaining")) == 0:
                self.pause(self._seconds_until(headers.get(f"anthropic-ratelimit-{kind}-reset")))

    def _seconds_until(self, reset: str | None) -> float:
        try:
            moment = datetime.fromisoformat(reset or "")
        except ValueError:
            return 1.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - self._now()).total_seconds()


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
