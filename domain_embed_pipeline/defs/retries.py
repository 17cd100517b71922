"""Retries of a step: only where it can be done again without harm, and only for what passes by itself.

Training has none (it is resumed by re-execution, not repeated behind somebody's back), nor has the move of the alias.
Wrong settings, unreadable documents and verdicts are no better the second time.
"""

import contextlib
from collections.abc import Iterator

import dagster as dg

from domain_embed_pipeline.errors import LedgerError, StoreLockedError, StoreUnavailableError

PASSING = (LedgerError, StoreLockedError, StoreUnavailableError)
RETRIES = 2
PAUSE_S = 30.0


@contextlib.contextmanager
def tried_again_later() -> Iterator[None]:
    """What is inside is tried again when a store or the ledger did not answer."""
    try:
        yield
    except PASSING as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=PAUSE_S) from error
