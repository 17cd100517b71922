"""Bounded retries with back-off for calls to a Qdrant server.

What belongs here: which failures pass by themselves, and how long to wait for them. What does not: what is called. The
client's own uploader retries without back-off and repeats a 429 for ever, so it is not used.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from domain_embed_pipeline.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PASSING_GRPC_CODES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})
_PASSING_HTTP_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is repeated, and the pauses between."""

    attempts: int = 7
    """Calls in all; with the default pauses they span about half a minute."""
    base_s: float = 0.3
    cap_s: float = 15.0
    """No single pause is longer, whatever the server's Retry-After says."""
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number in [0, 1); spreads the retries of several workers."""

    def run(self, what: str, call: Callable[[], T]) -> T:
        """The result of `call`, repeated while it fails in a way that passes by itself.

        Raises:
            StoreUnavailableError: If it still fails after `attempts` calls. Other errors are raised as they are.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except Exception as error:
                if not is_passing(error):
                    raise
                if attempt == self.attempts:
                    raise StoreUnavailableError(
                        f"Qdrant failed {attempt} times in a row at: {what}. Last error: {_one_line(error)}",
                        fix="Check that the server is up and not overloaded, then run again: work done is kept.",
                    ) from error
                pause = self._pause_s(attempt, error)
                logger.warning(
                    "Qdrant failed at %s (%s); call %d in %.1f s", what, _one_line(error), attempt + 1, pause
                )
                self.sleep(pause)
        raise AssertionError("attempts must be at least 1")

    def _pause_s(self, attempt: int, error: Exception) -> float:
        backoff = self.base_s * 2 ** (attempt - 1) * (0.5 + self.jitter())
        asked_for = float(getattr(error, "retry_after_s", 0.0) or 0.0)
        return min(max(backoff, asked_for), self.cap_s)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later: rate limits, server errors, timeouts, lost connections."""
    from httpx import TransportError
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ResourceExhaustedResponse):
        return True
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _PASSING_HTTP_STATUSES
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, TransportError)
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", "") in _PASSING_GRPC_CODES
