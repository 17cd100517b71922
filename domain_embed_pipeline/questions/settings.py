"""`QuestionSettings`: every knob of the question step, with what breaks when it is set wrong.

What does not belong here: keys and addresses (`DeploymentSettings`), prices (`pricing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.ids import normalise_text

STYLES = ("natural", "keyword", "situation", "specific")
MAX_EXAMPLE_QUERIES = 8
MAX_EXAMPLE_LENGTH = 200
_MAX_BATCH_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class QuestionSettings:
    """What to ask, of whom, how fast and for how much."""

    model: str = "claude-haiku-5-5"
    """Model name; one that is not in the price table needs both prices below."""
    styles: tuple[str, ...] = STYLES
    """Kinds of question asked of each chunk; fewer cost less but teach the model fewer ways of asking."""
    questions_per_style: int = 1
    """1 to 8; more than 2 mostly yields rewordings that the duplicate filter drops after they were paid for."""
    prompt: Literal["styled", "plain"] = "styled"
    """`plain` is the tutorial's prompt: questions close to the chunk's own words, which train a weaker model."""
    plain_questions: int = 3
    """Questions a chunk under the plain prompt, 1 to 8."""
    domain_description: str = ""
    """One line on the domain and its readers; a wrong one bends every question."""
    example_queries: tuple[str, ...] = ()
    """Up to 8 queries of real users; the questions imitate their tone, so take typical ones."""
    mode: Literal["auto", "direct", "batch"] = "auto"
    """`batch` costs half and may take hours; `auto` takes it above `batch_threshold` where the server offers it."""
    batch_threshold: int = 200
    """Unanswered chunks above which `auto` uses batches."""
    ask_beside_recorded: bool = False
    """Ask about chunks that have imported questions too; True pays for chunks that could do without."""
    max_cost_usd: float = 5.0
    """Ceiling of one run in US dollars; the run stops before it and keeps every answer."""
    input_usd_per_mtok: float | None = None
    """Price per million input tokens of a model outside the price table; 0 for a server of your own."""
    output_usd_per_mtok: float | None = None
    """Price per million output tokens of a model outside the price table; 0 for a server of your own."""
    structured_output: bool = True
    """Send the JSON schema with the request; switch it off only for a server that refuses the field."""
    prompt_caching: bool = True
    """Mark the static part for the server's cache; in batches with under half of the requests hitting it costs more."""
    max_concurrency: int = 8
    """Direct requests in flight; answers in flight when the process dies are paid for and lost."""
    requests_per_minute: int = 600
    """Direct requests started per minute; above the account's limit the server answers 429."""
    max_retries: int = 4
    """Further attempts after a passing failure of one request; 0 turns every hiccup into an unanswered chunk."""
    first_backoff_s: float = 0.5
    """Pause before the second attempt, doubled for each further one up to 8 s; too short floods an ailing server."""
    retry_after_ceiling_s: float = 60.0
    """Longest wait that a server can impose; without it one header could hold the run for days."""
    request_timeout_s: float = 120.0
    """Seconds before a direct request is given up; a given-up request may still be billed."""
    max_answers_per_chunk: int = 2
    """Paid answers per chunk, over all runs, before an unusable one is final."""
    circuit_breaker_failures: int = 20
    """Failures in a row, or unusable answers in a row, that stop the run."""
    max_chunk_chars: int = 20_000
    """Characters of a chunk that are sent; the rest is cut so that no single chunk can empty the budget."""
    batch_max_requests: int = 10_000
    """Requests in one batch, at most 100,000; smaller ones are collected sooner."""
    batch_max_bytes: int = 64_000_000
    """Bytes of one batch, at most 250,000,000 (the server refuses 256 MB)."""
    batch_poll_s: float = 60.0
    """Longest pause between two looks at a batch; polling starts faster and slows down to this."""
    batch_rounds: int = 3
    """How often an expired or failed request is put in a batch before it is reported as unanswered."""
    batch_wait_h: float = 25.0
    """Hours after which a run stops waiting for its batches; the next run collects them."""
    batch_adopt_grace_s: float = 60.0
    """Seconds that a batch whose creation got no answer has to show up in the list; too few may pay it twice."""

    def __post_init__(self) -> None:
        """Check every bound at once.

        Raises:
            ConfigurationError: If any field is out of bounds; the message lists all of them.
        """
        problems = [*_problems_of_numbers(self), *_problems_of_texts(self)]
        if problems:
            raise ConfigurationError(
                f"Question settings are out of bounds: {'; '.join(problems)}.",
                fix="Correct these fields of the question settings.",
            )

    @property
    def question_count(self) -> int:
        """Questions asked of each chunk."""
        return self.plain_questions if self.prompt == "plain" else len(self.styles) * self.questions_per_style


_BOUNDS: dict[str, tuple[float, float]] = {
    "questions_per_style": (1, 8),
    "plain_questions": (1, 8),
    "batch_threshold": (0, 10**9),
    "max_cost_usd": (0, 10**6),
    "input_usd_per_mtok": (0, 10**4),
    "output_usd_per_mtok": (0, 10**4),
    "max_concurrency": (1, 256),
    "requests_per_minute": (1, 10**6),
    "max_retries": (0, 20),
    "first_backoff_s": (0, 8),
    "retry_after_ceiling_s": (0, 3600),
    "request_timeout_s": (0.05, 3600),
    "max_answers_per_chunk": (1, 10),
    "circuit_breaker_failures": (1, 10**4),
    "max_chunk_chars": (200, 200_000),
    "batch_max_requests": (1, _MAX_BATCH_REQUESTS),
    "batch_max_bytes": (10_000, 250_000_000),
    "batch_poll_s": (0.01, 3600),
    "batch_rounds": (1, 10),
    "batch_wait_h": (0, 24 * 30),
    "batch_adopt_grace_s": (0, 3600),
}


def _problems_of_numbers(settings: QuestionSettings) -> list[str]:
    problems = []
    for name, (low, high) in _BOUNDS.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            problems.append(f"{name}={value} (allowed: {low:g} to {high:g})")
    return problems


def _problems_of_texts(settings: QuestionSettings) -> list[str]:
    problems = []
    if not settings.model.strip():
        problems.append("model is empty")
    unknown = [style for style in settings.styles if style not in STYLES]
    if unknown or not settings.styles or len(set(settings.styles)) < len(settings.styles):
        problems.append(f"styles={settings.styles} (allowed: each of {STYLES} at most once, at least one)")
    if settings.prompt not in ("styled", "plain"):
        problems.append(f"prompt={settings.prompt!r} (allowed: styled, plain)")
    if settings.mode not in ("auto", "direct", "batch"):
        problems.append(f"mode={settings.mode!r} (allowed: auto, direct, batch)")
    if len(settings.example_queries) > MAX_EXAMPLE_QUERIES:
        problems.append(f"{len(settings.example_queries)} example queries (allowed: {MAX_EXAMPLE_QUERIES})")
    long = [query for query in settings.example_queries if len(normalise_text(query)) > MAX_EXAMPLE_LENGTH]
    if long:
        problems.append(f"example query of more than {MAX_EXAMPLE_LENGTH} characters: {long[0][:60]!r}...")
    return problems
