"""What a run would cost, before anything is spent.

What does not belong here: the ceiling that holds while money is spent (`budget`).
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.questions.assembly import LedgerContent, final_answer, read_ledger
from domain_embed_pipeline.questions.client import AttemptFailedError, MessagesClient
from domain_embed_pipeline.questions.ledger import Ledger, StoredAnswer
from domain_embed_pipeline.questions.pricing import PRICES_AS_OF, ModelProfile, cost_usd, profile_of
from domain_embed_pipeline.questions.prompt import (
    SKIP_KEY,
    answer_keys_of,
    build_request,
    caches_prefix,
    prefix_of,
    user_prompt,
)
from domain_embed_pipeline.questions.records import Usage
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk

logger = logging.getLogger(__name__)

BATCH_CACHE_HIT_RATE = 0.7
"""Share of a batch's requests that find the prefix in the cache; the API promises none, its documentation says 30 to
98 %."""

_CHARS_OF_STYLE = {"natural": 93, "keyword": 42, "situation": 121, "specific": 90, "plain": 85}
"""Mean lengths of 766 recorded answers on a technical corpus; `specific` from a sample."""
_FRAME_TOKENS = 12
_MIN_ANSWERS_TO_CALIBRATE = 20
_COUNTED_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Calls, tokens and US dollars of asking about every chunk that the ledger has no answer for."""

    model: str
    prices_as_of: str
    chunks: int
    answered: int
    """Chunks that need no call."""
    calls: int
    input_tokens: int
    output_tokens: int
    direct_usd: float
    direct_cached_usd: float
    """With the prompt cache; equal to `direct_usd` where the model does not cache so short a prompt."""
    batch_usd: float
    batch_cached_usd: float
    """With 70 % cache hits; more than `batch_usd` would say that caching does not pay in batches."""
    planned_mode: Literal["direct", "batch"]
    """What the settings would do, where the server offers batches."""
    planned_usd: float
    max_cost_usd: float
    basis: Literal["text", "server", "ledger"]
    """Where token counts come from: the length of the text, the server's free count, or earlier answers."""
    questions: int
    """Questions asked for."""

    @property
    def fits_ceiling(self) -> bool:
        """Whether the planned run stays under the ceiling."""
        return self.planned_usd <= self.max_cost_usd

    @property
    def planned_usd_per_1000_questions(self) -> float:
        """Dollars per 1,000 questions, before any filter."""
        return 1000 * self.planned_usd / self.questions if self.questions else 0.0


def estimate(
    chunks: Sequence[Chunk], settings: QuestionSettings, ledger: Ledger, *, client: MessagesClient | None = None
) -> CostEstimate:
    """Estimate what `generate_questions` would spend.

    Args:
        chunks: Chunks of the corpus.
        settings: What would be asked.
        ledger: What is answered already; with 20 answers or more under these settings, their usage is the basis.
        client: If given, the server counts the tokens of a few requests, free of charge.

    Raises:
        ConfigurationError: If the model has no price.
    """
    profile = profile_of(settings)
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    content = read_ledger(list(by_id.values()), settings, ledger)
    todo = [chunk for chunk in by_id.values() if content.needs_asking(chunk.chunk_id, settings)]
    scale, output_each, basis = _calibration(by_id, todo, settings, content=content, client=client)
    prefix = _tokens(prefix_of(settings), profile) * scale
    texts = sum(_tokens(user_prompt(chunk, settings), profile) + _FRAME_TOKENS for chunk in todo) * scale
    costs = _costs(len(todo), prefix, texts, output_tokens=output_each * len(todo), profile=profile)
    caches = caches_prefix(settings, profile)
    direct_cached, batch_cached = (costs[1], costs[3]) if caches else (costs[0], costs[2])
    batch = settings.mode == "batch" or (settings.mode == "auto" and len(todo) > settings.batch_threshold)
    return CostEstimate(
        model=settings.model,
        prices_as_of=PRICES_AS_OF,
        chunks=len(by_id),
        answered=len(by_id) - len(todo),
        calls=len(todo),
        input_tokens=round(prefix * len(todo) + texts),
        output_tokens=round(output_each * len(todo)),
        direct_usd=costs[0],
        direct_cached_usd=direct_cached,
        batch_usd=costs[2],
        batch_cached_usd=batch_cached,
        planned_mode="batch" if batch else "direct",
        planned_usd=batch_cached if batch else direct_cached,
        max_cost_usd=settings.max_cost_usd,
        basis=basis,
        questions=len(todo) * settings.question_count,
    )


def _costs(
    calls: int, prefix: float, texts: float, *, output_tokens: float, profile: ModelProfile
) -> tuple[float, float, float, float]:
    """Dollars direct, direct and cached, batch, batch and cached."""
    plain = Usage(round(prefix * calls + texts), round(output_tokens))
    written = min(calls, 1)
    direct_cached = Usage(
        round(texts),
        round(output_tokens),
        cache_write_5m_tokens=round(prefix * written),
        cache_read_tokens=round(prefix * (calls - written)),
    )
    batch = Usage(plain.input_tokens, plain.output_tokens, service_tier="batch")
    batch_cached = Usage(
        round(texts),
        round(output_tokens),
        cache_write_1h_tokens=round(prefix * calls * (1 - BATCH_CACHE_HIT_RATE)),
        cache_read_tokens=round(prefix * calls * BATCH_CACHE_HIT_RATE),
        service_tier="batch",
    )
    direct_usd, cached_usd, batch_usd, batch_cached_usd = (
        cost_usd(usage, profile) for usage in (plain, direct_cached, batch, batch_cached)
    )
    return direct_usd, cached_usd, batch_usd, batch_cached_usd


def _calibration(
    by_id: dict[str, Chunk],
    todo: Sequence[Chunk],
    settings: QuestionSettings,
    *,
    content: LedgerContent,
    client: MessagesClient | None,
) -> tuple[float, float, Literal["text", "server", "ledger"]]:
    """Factor on input tokens counted from text, output tokens of one answer, and what both rest on."""
    profile = profile_of(settings)
    answers = [answer for found in content.answers.values() if (answer := final_answer(found)) is not None]
    if len(answers) >= _MIN_ANSWERS_TO_CALIBRATE:
        counted = sum(_input_of(answer) for answer in answers)
        guessed = sum(_request_tokens(by_id[answer.chunk_id], settings, profile) for answer in answers)
        output = sum(answer.received.usage.output_tokens for answer in answers) / len(answers)
        if counted:
            return counted / guessed, output, "ledger"
    output = _tokens_of_answer(settings, profile)
    sample = sorted(todo, key=lambda chunk: chunk.chunk_id)[:_COUNTED_CHUNKS]
    if client is not None and sample:
        try:
            counted = sum(client.count_tokens(build_request(chunk, settings)) for chunk in sample)
        except AttemptFailedError as failure:
            logger.info("The server counts no tokens (%s); estimating from the length of the texts.", failure.message)
        else:
            guessed = sum(_request_tokens(chunk, settings, profile) for chunk in sample)
            if counted:
                return counted / guessed, output, "server"
    return 1.0, output, "text"


def _request_tokens(chunk: Chunk, settings: QuestionSettings, profile: ModelProfile) -> float:
    return _tokens(prefix_of(settings), profile) + _tokens(user_prompt(chunk, settings), profile) + _FRAME_TOKENS


def _input_of(answer: StoredAnswer) -> int:
    usage = answer.received.usage
    cached = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens + usage.cache_read_tokens
    return usage.input_tokens + cached


def _tokens_of_answer(settings: QuestionSettings, profile: ModelProfile) -> float:
    """Output tokens of a usual answer: the questions, and the JSON around them."""
    if settings.prompt == "plain":
        return settings.plain_questions * (_CHARS_OF_STYLE["plain"] + 4) / profile.chars_per_token
    keys = answer_keys_of(settings)
    chars = len(json.dumps(dict.fromkeys([SKIP_KEY, *keys], "")))
    return (chars + sum(_CHARS_OF_STYLE[style] for style in keys.values())) / profile.chars_per_token


def _tokens(text: str, profile: ModelProfile) -> float:
    """Tokens of a text from its characters: other scripts than Latin take more tokens a character."""
    latin = sum(character < "\u0250" for character in text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text) if latin < len(text) else 0
    others = len(text) - latin - wide
    return (
        latin / profile.chars_per_token + wide * 3.2 / profile.chars_per_token + others * 1.8 / profile.chars_per_token
    )
