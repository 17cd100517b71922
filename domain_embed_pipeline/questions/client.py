"""One attempt at a time against a server that speaks the Messages API, direct and batch.

What belongs here: calling the SDK and turning what comes back, good or bad, into our own records and error classes.
What does not: retries, pace and money (`direct`, `batches`). The SDK's own retries are off: it would sleep as long as a
server tells it to, and would create a batch twice after a lost response.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from domain_embed_pipeline.errors import QuestionError
from domain_embed_pipeline.questions.records import ReceivedAnswer, Usage

logger = logging.getLogger(__name__)

ANTHROPIC_URL = "https://api.anthropic.com"
_CREATE_BATCH_TIMEOUT_S = 600.0
_POLL_TIMEOUT_S = 60.0

FailureKind = Literal[
    "rate_limited", "overloaded", "server", "timeout", "connection", "bad_answer", "bad_request", "too_large",
    "spend_limit", "rejected", "not_found",
]  # fmt: skip

_PASSING: frozenset[str] = frozenset({"rate_limited", "overloaded", "server", "timeout", "connection", "bad_answer"})
_KIND_OF_STATUS: dict[int, FailureKind] = {
    401: "rejected", 402: "spend_limit", 403: "rejected", 404: "not_found", 408: "timeout", 409: "server",
    413: "too_large", 429: "rate_limited", 499: "timeout", 504: "timeout", 529: "overloaded",
}  # fmt: skip


class AttemptFailedError(QuestionError):
    """One attempt brought no answer.

    Args:
        kind: Class of the failure.
        message: What the server or the connection said, without secrets.
        retry_after_s: Pause that the server asks for.
        may_retry: False when the server forbids another attempt.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, retry_after_s: float | None = None, may_retry: bool = True
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.may_retry = may_retry and kind in _PASSING

    @property
    def may_be_billed(self) -> bool:
        """Whether the request may have been carried out although no answer came."""
        return self.kind in ("timeout", "connection", "bad_answer")


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer with the headers it came with."""

    received: ReceivedAnswer
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchState:
    """What the server says about a batch."""

    batch_id: str
    status: str
    """`in_progress`, `canceling` or `ended`."""
    created_at: str
    request_count: int
    results_available: bool
    archived: bool


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One line of a batch's results."""

    custom_id: str
    kind: str
    """`succeeded`, `errored`, `expired` or `canceled`."""
    received: ReceivedAnswer | None
    error_type: str = ""
    detail: str = ""


class MessagesClient:
    """Talks to Anthropic, or to another server at `base_url` (Ollama, vLLM, llama.cpp, LiteLLM, ...).

    Args:
        api_key: Key of the Messages API; servers of one's own mostly ignore it.
        base_url: Address without `/v1`; None means Anthropic.
        timeout_s: Seconds before a direct request is given up, unless the call says otherwise.
    """

    def __init__(self, *, api_key: str | None, base_url: str | None = None, timeout_s: float = 120.0) -> None:
        self._api_key = api_key
        self.base_url = base_url or ANTHROPIC_URL
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"MessagesClient(base_url={self.redact(self.base_url)!r})"

    def __getstate__(self) -> dict[str, Any]:
        """A client can be handed to another process; its connections cannot."""
        return {name: value for name, value in self.__dict__.items() if name != "_sdk"}

    @functools.cached_property
    def _sdk(self) -> Any:
        import anthropic

        return anthropic.Anthropic(
            api_key=self._api_key or "none", base_url=self.base_url, max_retries=0, timeout=self.timeout_s
        )

    def close(self) -> None:
        """Close the connections."""
        if "_sdk" in self.__dict__:
            self._sdk.close()
            del self.__dict__["_sdk"]

    def redact(self, text: str) -> str:
        """The text without our key and without the user part of the address, whoever put them there."""
        if self._api_key and len(self._api_key) >= 4:
            text = text.replace(self._api_key, "[key]")
        userinfo = urlsplit(self.base_url).netloc.rpartition("@")[0]
        return text.replace(f"{userinfo}@", "") if userinfo else text

    # ── direct ───────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, request: Mapping[str, Any], *, timeout_s: float | None = None) -> Delivery:
        """One attempt at one request.

        Raises:
            AttemptFailedError: If no answer came, with the class of the failure.
        """
        with_options = self._sdk.with_options(timeout=timeout_s or self.timeout_s, max_retries=0)
        response = self._call(with_options.messages.with_raw_response.create, **request)
        message = self._decoded(response)
        received = self._received(message, response.headers.get("request-id") or "")
        return Delivery(received, dict(response.headers))

    def count_tokens(self, request: Mapping[str, Any]) -> int:
        """Input tokens of a request by the server's own count, free of charge.

        Raises:
            AttemptFailedError: If the server does not offer it.
        """
        accepted = {name: value for name, value in request.items() if name != "max_tokens"}
        response = self._call(self._sdk.messages.with_raw_response.count_tokens, **accepted)
        return int(self._decoded(response).get("input_tokens", 0))

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def offers_batches(self) -> bool:
        """Whether the server has the Batches API; other servers mostly have not."""
        try:
            self.list_batches(limit=1)
        except AttemptFailedError as failure:
            if failure.kind in ("not_found", "bad_request", "server"):
                return False
            raise
        return True

    def create_batch(self, requests: Sequence[Mapping[str, Any]]) -> BatchState:
        """Create a batch of `{"custom_id", "params"}`, in one attempt.

        Raises:
            AttemptFailedError: If no batch was created, or nobody can tell (`may_be_created`).
        """
        with_options = self._sdk.with_options(timeout=_CREATE_BATCH_TIMEOUT_S, max_retries=0)
        response = self._call(with_options.messages.batches.with_raw_response.create, requests=list(requests))
        return _batch_state(self._decoded(response))

    def retrieve_batch(self, batch_id: str) -> BatchState:
        """State of a batch.

        Raises:
            AttemptFailedError: If the server does not say, `not_found` when it no longer knows the batch.
        """
        with_options = self._sdk.with_options(timeout=_POLL_TIMEOUT_S, max_retries=0)
        response = self._call(with_options.messages.batches.with_raw_response.retrieve, batch_id)
        return _batch_state(self._decoded(response))

    def list_batches(self, *, limit: int = 100, after_id: str | None = None) -> tuple[list[BatchState], bool]:
        """A page of the workspace's batches, newest first, and whether there are more.

        Raises:
            AttemptFailedError: If the server does not say.
        """
        arguments: dict[str, Any] = {"limit": limit, **({"after_id": after_id} if after_id else {})}
        with_options = self._sdk.with_options(timeout=_POLL_TIMEOUT_S, max_retries=0)
        page = self._decoded(self._call(with_options.messages.batches.with_raw_response.list, **arguments))
        return [_batch_state(batch) for batch in page.get("data") or []], bool(page.get("has_more"))

    def batch_results(self, batch_id: str) -> Iterator[BatchResult]:
        """Results of an ended batch as they stream in, in any order.

        Raises:
            AttemptFailedError: If the stream cannot be opened or breaks; what was yielded before is good.
        """
        import anthropic
        import httpx2

        stream = self._call(self._sdk.messages.batches.results, batch_id)
        try:
            for line in stream:
                yield self._batch_result(line.to_dict(mode="json"))
        except (httpx2.HTTPError, anthropic.AnthropicError, ValueError, TypeError, AttributeError) as error:
            cause = self.redact(f"{type(error).__name__}: {error}")[:300]
            raise AttemptFailedError("connection", f"the results of {batch_id} broke off: {cause}") from error
        finally:
            stream.close()

    # ── conversion ───────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        import anthropic

        try:
            return function(*args, **kwargs)
        except anthropic.APITimeoutError as error:
            raise AttemptFailedError("timeout", "no answer in time") from error
        except anthropic.APIConnectionError as error:
            cause = self.redact(str(error.__cause__ or error))[:300]
            raise AttemptFailedError("connection", f"{cause} ({self.redact(self.base_url)})") from error
        except anthropic.APIStatusError as error:
            raise self._status_failure(error) from None
        except anthropic.AnthropicError as error:
            raise AttemptFailedError("bad_answer", self.redact(str(error))[:300]) from None

    def _status_failure(self, error: Any) -> AttemptFailedError:
        status = int(error.status_code)
        kind: FailureKind = _KIND_OF_STATUS.get(status, "server" if status >= 500 else "bad_request")
        code = str(getattr(error, "error_code", None) or "")
        if "spend_limit" in code or "billing" in code or error.type == "billing_error":
            kind = "spend_limit"
        headers = error.response.headers
        message = self.redact(f"{status} {error.type or ''} {error.api_message or error.message}")[:300]
        return AttemptFailedError(
            kind,
            message,
            retry_after_s=_retry_after(headers),
            may_retry=headers.get("x-should-retry") != "false",
        )

    def _decoded(self, response: Any) -> dict[str, Any]:
        try:
            value = json.loads(response.text())
        except (ValueError, UnicodeDecodeError) as error:
            raise AttemptFailedError("bad_answer", "the server's answer is not JSON") from error
        if not isinstance(value, dict):
            raise AttemptFailedError("bad_answer", "the server's answer is not a JSON object")
        return value

    def _received(self, message: Mapping[str, Any], request_id: str) -> ReceivedAnswer:
        """Text blocks joined; a thinking block may come first and other kinds are skipped."""
        blocks = message.get("content") or []
        texts = [block.get("text") or "" for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
        details = message.get("stop_details")
        category = details.get("category") if isinstance(details, dict) else None
        return ReceivedAnswer(
            text=self.redact("".join(map(str, texts))),
            stop_reason=str(message.get("stop_reason") or ""),
            usage=_usage(message.get("usage") or {}),
            request_id=request_id,
            message_id=str(message.get("id") or ""),
            refusal_category=str(category or ""),
        )

    def _batch_result(self, line: Mapping[str, Any]) -> BatchResult:
        result = line["result"]
        custom_id, kind = str(line["custom_id"]), str(result["type"])
        if kind == "succeeded":
            return BatchResult(custom_id, kind, self._received(result["message"], ""))
        # The error is wrapped twice; the outer `type` is always the word "error".
        error = (result.get("error") or {}).get("error") or {}
        detail = self.redact(str(error.get("message") or ""))[:300]
        return BatchResult(custom_id, kind, None, str(error.get("type") or ""), detail)


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Usage with every absent or null counter as 0; cache writes without a breakdown count as 5-minute ones."""

    def count(values: Mapping[str, Any], name: str) -> int:
        """Absent and null both mean none."""
        return int(values.get(name) or 0)

    written = usage.get("cache_creation") or {}
    one_hour = count(written, "ephemeral_1h_input_tokens")
    return Usage(
        input_tokens=count(usage, "input_tokens"),
        output_tokens=count(usage, "output_tokens"),
        cache_write_5m_tokens=max(0, count(usage, "cache_creation_input_tokens") - one_hour),
        cache_write_1h_tokens=one_hour,
        cache_read_tokens=count(usage, "cache_read_input_tokens"),
        thinking_tokens=count(usage.get("output_tokens_details") or {}, "thinking_tokens"),
        service_tier=str(usage.get("service_tier") or "standard")[:32],
    )


def _batch_state(batch: Mapping[str, Any]) -> BatchState:
    counts = batch.get("request_counts") or {}
    if not batch.get("id"):
        raise AttemptFailedError("bad_answer", "the server's answer is not a batch")
    return BatchState(
        batch_id=str(batch["id"]),
        status=str(batch.get("processing_status") or ""),
        created_at=str(batch.get("created_at") or ""),
        request_count=sum(int(value or 0) for value in counts.values()),
        results_available=bool(batch.get("results_url")),
        archived=bool(batch.get("archived_at")),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `retry-after-ms` or `retry-after` (seconds or a date)."""
    import email.utils
    import time

    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * factor
        except (KeyError, ValueError):
            continue
    moment = email.utils.parsedate_tz(headers.get("retry-after"))
    return email.utils.mktime_tz(moment) - time.time() if moment else None
