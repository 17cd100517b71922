"""What all requests of one run share: client, ledger, pace, money, failures and progress.

What does not belong here: the two ways to ask (`direct`, `batches`).
"""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from domain_embed_pipeline.errors import LeaseLostError
from domain_embed_pipeline.questions.budget import Budget
from domain_embed_pipeline.questions.circuit_breaker import CircuitBreaker
from domain_embed_pipeline.questions.client import AttemptFailedError, MessagesClient
from domain_embed_pipeline.questions.ledger import Ledger, PaidAnswer
from domain_embed_pipeline.questions.limiter import RateLimiter
from domain_embed_pipeline.questions.parsing import parse_answer
from domain_embed_pipeline.questions.pricing import cost_bound_usd, cost_usd, profile_of
from domain_embed_pipeline.questions.progress import Progress, ProgressReporter
from domain_embed_pipeline.questions.prompt import answer_key_of, build_request, max_tokens_of, prefix_of, user_prompt
from domain_embed_pipeline.questions.records import FINAL_OUTCOMES, ParsedAnswer, ReceivedAnswer, Usage
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)


class AskingSession:
    """State of one run.

    Args:
        chunks: Every chunk of the run, answered or not.
        settings: What to ask.
        ledger: Where answers go.
        client: Whom to ask.
        progress: Called about once a second.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        settings: QuestionSettings,
        *,
        ledger: Ledger,
        client: MessagesClient,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.settings, self.ledger, self.client = settings, ledger, client
        self.key, self.profile = answer_key_of(settings), profile_of(settings)
        self.chunks = {chunk.chunk_id: chunk for chunk in chunks}
        self.budget = Budget(settings.max_cost_usd)
        self.breaker = CircuitBreaker(settings.circuit_breaker_failures)
        self.stopping = threading.Event()
        self.limiter = RateLimiter(
            settings.requests_per_minute, ceiling_s=settings.retry_after_ceiling_s, sleep=self.stopping.wait
        )
        self.lease_lost: Callable[[], bool] = lambda: False
        self.failures: dict[str, tuple[str, str]] = {}
        """`chunk_id -> (reason, detail)` of chunks that got no answer in this run."""
        self.usages: list[Usage] = []
        self.asked: set[str] = set()
        self._answer_counts: dict[str, int] = {}
        self._prefix_bytes = len(prefix_of(settings).encode())
        self._jitter = random.Random(0)
        self._callback = progress
        self.reporter = ProgressReporter(len(chunks), 0, callback=progress)

    def start(self, answer_counts: dict[str, int], pending: int) -> None:
        """Note how many answers the ledger has for each chunk, so that they stay bounded over all runs."""
        self._answer_counts = dict(answer_counts)
        self.reporter = ProgressReporter(len(self.chunks), len(self.chunks) - pending, callback=self._callback)

    def check(self) -> None:
        """Raise if the run may not go on.

        Raises:
            CircuitOpenError: If too much failed in a row.
            LeaseLostError: If another process asks now.
        """
        self.breaker.check()
        if self.lease_lost():
            raise LeaseLostError(
                "Another process took over asking these questions while this one was silent.",
                fix="Wait for the other process; its answers are in the ledger.",
            )

    def request_for(self, chunk: Chunk) -> dict[str, Any]:
        """Arguments of the direct request about the chunk."""
        return build_request(chunk, self.settings)

    def bound_usd(self, chunk: Chunk, *, batch: bool) -> float:
        """Most that one request about the chunk can cost."""
        return cost_bound_usd(
            self._prefix_bytes,
            len(user_prompt(chunk, self.settings).encode()),
            max_tokens=max_tokens_of(self.settings),
            profile=self.profile,
            batch=batch,
        )

    def answers_left(self, chunk_id: str) -> int:
        """How many more paid answers the chunk may have."""
        return self.settings.max_answers_per_chunk - self._answer_counts.get(chunk_id, 0)

    def backoff_s(self, attempt: int) -> float:
        """Doubled from attempt to attempt up to 8 s, and shortened by up to a quarter so that threads spread out."""
        return min(self.settings.first_backoff_s * 2**attempt, 8.0) * (1 - 0.25 * self._jitter.random())

    def cost_of(self, received: ReceivedAnswer) -> float:
        """Dollars of an answer."""
        return cost_usd(received.usage, self.profile)

    def parse(self, chunk_id: str, received: ReceivedAnswer) -> ParsedAnswer:
        """Parse an answer so that it can be stored whatever the parser does: it is paid for."""
        chunk = self.chunks.get(chunk_id)
        if chunk is None:
            return ParsedAnswer("unparsed", detail="its chunk is not in this run")
        return parse_safely(received, chunk, self.settings)

    def store(self, answers: Sequence[PaidAnswer]) -> None:
        """Store answers at once, then count them."""
        self.ledger.store_answers(self.key, answers)
        for answer in answers:
            usable = answer.parsed.outcome in FINAL_OUTCOMES
            self.usages.append(answer.received.usage)
            self.asked.add(answer.chunk_id)
            self._answer_counts[answer.chunk_id] = self._answer_counts.get(answer.chunk_id, 0) + 1
            if usable or self.answers_left(answer.chunk_id) <= 0:
                self.failures.pop(answer.chunk_id, None)
                self.reporter.answered(answer.chunk_id, len(answer.parsed.questions))
            if answer.parsed.outcome != "unparsed":
                self.breaker.judged(usable=usable, cause=f"{answer.parsed.outcome}: {answer.parsed.detail}")

    def paid_answer(
        self, chunk_id: str, received: ReceivedAnswer, delivery_key: str, batch_id: str | None = None
    ) -> PaidAnswer:
        """An answer with its cost and what the parser makes of it."""
        if batch_id is not None and received.usage.service_tier != "batch":
            received = dataclasses.replace(received, usage=dataclasses.replace(received.usage, service_tier="batch"))
        parsed = self.parse(chunk_id, received)
        return PaidAnswer(chunk_id, delivery_key, received, parsed, self.cost_of(received), batch_id)

    def note_failure(self, chunk_id: str, reason: str, detail: str) -> None:
        """A chunk stays without an answer in this run."""
        self.failures[chunk_id] = (reason, detail[:300])

    def note_attempt_failure(self, chunk_id: str, failure: AttemptFailedError) -> None:
        """A chunk stays without an answer because its last attempt failed."""
        self.note_failure(chunk_id, failure.kind, failure.message)


def parse_safely(received: ReceivedAnswer, chunk: Chunk, settings: QuestionSettings) -> ParsedAnswer:
    """Parse an answer; a failure of ours becomes the outcome `unparsed`, which a later parser version reads again."""
    try:
        return parse_answer(received, chunk, settings)
    except Exception as error:
        logger.exception("The parser failed on the answer %s; it is stored and can be read later.", received.message_id)
        return ParsedAnswer("unparsed", detail=f"parser failed with {type(error).__name__}")
