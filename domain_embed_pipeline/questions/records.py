"""Small records that pass between the modules of this room, and the id of a question.

What does not belong here: rows of the ledger (`ledger`), results of a whole run (`generation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.ids import digest_of

Outcome = Literal["answered", "no_questions", "refused", "truncated", "invalid", "unparsed"]
"""`no_questions`: the model found nothing to ask; `unparsed`: our parser failed, a later version may not."""

FINAL_OUTCOMES: frozenset[str] = frozenset({"answered", "no_questions", "refused"})
"""Asking again would bring nothing new."""


def question_id_of(chunk_id: str, style: str, text: str) -> str:
    """Id of a question: the same words in the same style for the same chunk, whoever wrote them."""
    return f"g-{digest_of('question', chunk_id, style, text)[:24]}"


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Together with the chunk: what an answer is filed under."""

    prompt_version: str
    model: str
    parameters_digest: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, as the server counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    thinking_tokens: int = 0
    """Part of `output_tokens`."""
    service_tier: str = "standard"
    """`batch` halves the price."""


@dataclass(frozen=True, slots=True)
class ReceivedAnswer:
    """What came back for one request, before anybody looked inside."""

    text: str
    stop_reason: str
    usage: Usage
    request_id: str = ""
    message_id: str = ""
    refusal_category: str = ""


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A valid question of an answer."""

    style: str
    text: str


@dataclass(frozen=True, slots=True)
class RejectedText:
    """A text of an answer that is not a valid question."""

    style: str
    text: str
    """At most 200 characters, invisible ones escaped."""
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What the parser made of an answer."""

    outcome: Outcome
    questions: tuple[ParsedQuestion, ...] = ()
    rejected: tuple[RejectedText, ...] = ()
    detail: str = ""
