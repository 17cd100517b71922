"""The spending ceiling of a run.

Money is reserved before a request is sent and settled when its usage is known, so that requests in flight cannot push a
run over the ceiling. What does not belong here: prices (`pricing`).
"""

from __future__ import annotations

import threading

from domain_embed_pipeline.errors import BudgetExceededError


class Budget:
    """Thread-safe account of one run in US dollars."""

    def __init__(self, ceiling_usd: float) -> None:
        self.ceiling_usd = ceiling_usd
        self._lock = threading.Lock()
        self._spent = 0.0
        self._uncertain = 0.0
        self._reserved = 0.0

    @property
    def spent_usd(self) -> float:
        """What answers cost for certain."""
        return self._spent

    @property
    def uncertain_usd(self) -> float:
        """Most that requests without an answer may have cost: timed out or cut off after they were sent."""
        return self._uncertain

    def reserve(self, bound_usd: float) -> None:
        """Set aside the most that a request can cost.

        Raises:
            BudgetExceededError: If that could push the run over its ceiling; nothing is set aside then.
        """
        with self._lock:
            committed = self._spent + self._uncertain + self._reserved
            if committed + bound_usd > self.ceiling_usd:
                raise BudgetExceededError(
                    f"The next request could cost ${bound_usd:.6f} on top of ${committed:.6f} spent or in flight, "
                    f"which passes the ceiling of ${self.ceiling_usd:.6f}.",
                    fix="Raise max_cost_usd and run again; answers so far are kept and not paid for again.",
                )
            self._reserved += bound_usd

    def commit(self, bound_usd: float) -> None:
        """Set aside money that is committed already (a batch of an earlier run), whatever the ceiling says."""
        with self._lock:
            self._reserved += bound_usd

    def release(self, bound_usd: float) -> None:
        """Give a reservation back: the request was not sent or not billed."""
        with self._lock:
            self._reserved -= bound_usd

    def settle(self, bound_usd: float, cost_usd: float) -> None:
        """Replace a reservation by what the answer cost."""
        with self._lock:
            self._reserved -= bound_usd
            self._spent += cost_usd

    def settle_unknown(self, bound_usd: float) -> None:
        """Count a reservation as possibly spent: the request was sent and nobody knows whether it was billed."""
        with self._lock:
            self._reserved -= bound_usd
            self._uncertain += bound_usd
