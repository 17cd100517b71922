"""Stops a run that keeps failing before it burns money.

What does not belong here: retries of one request (`direct`).
"""

from __future__ import annotations

import threading

from domain_embed_pipeline.errors import CircuitOpenError


class CircuitBreaker:
    """Counts failures in a row and unusable answers in a row, over all threads of a run."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._lock = threading.Lock()
        self._failures = 0
        self._unusable = 0
        self._last = ""

    def check(self) -> None:
        """Let a request pass.

        Raises:
            CircuitOpenError: If too many in a row failed or brought nothing usable.
        """
        with self._lock:
            failures, unusable, last = self._failures, self._unusable, self._last
        if failures >= self._threshold:
            raise CircuitOpenError(
                f"{failures} attempts in a row failed, the last one with: {last}.",
                fix="Check the server and its status page, then run again; stored answers are not asked again.",
            )
        if unusable >= self._threshold:
            raise CircuitOpenError(
                f"{unusable} paid answers in a row held no usable question, the last one: {last}.",
                fix="Look at raw_text in the ledger; the model may not follow the format, or the corpus is unreadable.",
            )

    def failed(self, cause: str) -> None:
        """An attempt brought no answer."""
        with self._lock:
            self._failures += 1
            self._last = cause

    def answered(self) -> None:
        """An attempt brought an answer, of whatever quality."""
        with self._lock:
            self._failures = 0

    def judged(self, *, usable: bool, cause: str) -> None:
        """An answer was read."""
        with self._lock:
            self._unusable = 0 if usable else self._unusable + 1
            self._last = cause if not usable else self._last
