"""What models cost and which request fields they take, in one dated table.

What does not belong here: the ceiling of a run (`budget`), what a run would cost (`estimate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.questions.records import Usage
from domain_embed_pipeline.questions.settings import QuestionSettings

PRICES_AS_OF = "2026-11-20"
"""Day on which the table was compared with the models' overview pages on platform.claude.com."""

_PER_TOKEN = 1e-6
_CACHE_WRITE_5M, _CACHE_WRITE_1H, _CACHE_READ = 1.25, 2.0, 0.1
_PREFIX_BYTES_PER_TOKEN = 2.5
_FRAME_TOKENS = 100
BATCH_FACTOR = 0.5


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Prices in US dollars per million tokens, and what decides the shape of a request."""

    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    min_cacheable_tokens: int | None
    """Shortest prefix that the server caches; None where caching is unknown."""
    chars_per_token: float
    """Characters of English prose in a token, for estimates only: 3.6 for the older tokenizer, 30 % more tokens for the
    newer one."""
    thinking_off: bool = False
    """Thinking is on by default and must be switched off."""
    effort: str | None = None


_TABLE = (
    # Above 100k tokens of prompt the price is five-fold; `max_chunk_chars` keeps every prompt far below.
    ModelProfile("claude-haiku-5-5", 0.10, 0.50, 512, 2.8, thinking_off=True, effort="low"),
    ModelProfile("claude-haiku-4-5", 1.00, 5.00, 4096, 3.6),
)


def known_models() -> tuple[ModelProfile, ...]:
    """The price table."""
    return _TABLE


def profile_of(settings: QuestionSettings) -> ModelProfile:
    """Profile of the settings' model; prices given in the settings go before the table.

    Raises:
        ConfigurationError: If the model is not in the table and has no price.
    """
    known = next((row for row in _TABLE if _is_model(settings.model, row.model)), None)
    given = (settings.input_usd_per_mtok, settings.output_usd_per_mtok)
    if known is None and None in given:
        raise ConfigurationError(
            f"No price is known for the model {settings.model!r}; the table of {PRICES_AS_OF} has "
            f"{', '.join(row.model for row in _TABLE)}.",
            fix="Set input_usd_per_mtok and output_usd_per_mtok (0 for a server of your own).",
        )
    input_usd = given[0] if given[0] is not None else known.input_usd_per_mtok if known else 0.0
    output_usd = given[1] if given[1] is not None else known.output_usd_per_mtok if known else 0.0
    if known is None:
        return ModelProfile(settings.model, input_usd, output_usd, None, 3.5)
    return ModelProfile(
        settings.model,
        input_usd,
        output_usd,
        known.min_cacheable_tokens,
        known.chars_per_token,
        known.thinking_off,
        known.effort,
    )


def _is_model(name: str, known: str) -> bool:
    """Whether `name` is `known` or a dated snapshot of it."""
    return name == known or (name.startswith(f"{known}-") and name[len(known) + 1 :].isdigit())


def cost_usd(usage: Usage, profile: ModelProfile) -> float:
    """Dollars of one answer: 5-minute cache writes count 1.25 times, 1-hour ones twice, reads a tenth."""
    input_tokens = (
        usage.input_tokens
        + _CACHE_WRITE_5M * usage.cache_write_5m_tokens
        + _CACHE_WRITE_1H * usage.cache_write_1h_tokens
        + _CACHE_READ * usage.cache_read_tokens
    )
    cost = (input_tokens * profile.input_usd_per_mtok + usage.output_tokens * profile.output_usd_per_mtok) * _PER_TOKEN
    return cost * BATCH_FACTOR if usage.service_tier == "batch" else cost


def cost_bound_usd(
    prefix_bytes: int, chunk_bytes: int, max_tokens: int, *, profile: ModelProfile, batch: bool
) -> float:
    """Most that one request can cost.

    Our own prefix is plain prose of more than 2.5 bytes a token and may be written to the 1-hour cache; of the chunk
    nothing is known, so each of its bytes counts as a token.
    """
    caching = _CACHE_WRITE_1H if profile.min_cacheable_tokens is not None else 1.0
    input_tokens = prefix_bytes / _PREFIX_BYTES_PER_TOKEN * caching + chunk_bytes + _FRAME_TOKENS
    cost = (input_tokens * profile.input_usd_per_mtok + max_tokens * profile.output_usd_per_mtok) * _PER_TOKEN
    return cost * BATCH_FACTOR if batch else cost
