"""A Messages API on loopback: real HTTP, deterministic answers, fault switches, and a log of what was paid for.

Answers are made of words of the chunk, so a model that is trained on them has something to learn. The server behaves as
the real one does towards anthropic 2.12: Bearer authentication, dated version header, no sampling parameters, batches
validated only when they run, counters at 0 until a batch ends, results in shuffled order, errors wrapped twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import random
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MIN_CACHEABLE = {"claude-haiku-5-5": 512, "claude-haiku-4-5": 4096}
PRICES = {"claude-haiku-5-5": (0.10, 0.50), "claude-haiku-4-5": (1.0, 5.0)}
CHARACTERS_IN_A_PIECE = {"claude-haiku-5-5": 3.4, "claude-haiku-4-5": 4.6}
_STOP_WORDS = frozenset(re.findall(r"\w+", """
    about after also been before being could does every from have into only other over should such than that their them
    then there these they this through under were what when where which while will with within would your
"""))  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. `kind` is one of the names in `FakeMessagesServer.fail_next`."""

    kind: str
    seconds: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Paid:
    """A request that was carried out and billed."""

    chunk_text: str
    via: str
    cost_usd: float
    usage: dict[str, Any]
    custom_id: str = ""


@dataclass
class FakeBatch:
    batch_id: str
    created: float
    requests: list[dict[str, Any]]
    ended: bool = False
    canceled: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)


class FakeMessagesServer:
    """Context manager; `base_url` is where it listens.

    Args:
        seed: Of every random choice (order of results, cache hits in batches).
        batch_seconds: How long a batch runs.
        latency_s: How long a direct request takes.
        rate_limit_headers: Extra headers on every direct answer.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        batch_seconds: float = 0.05,
        latency_s: float = 0.0,
        rate_limit_headers: dict[str, str] | None = None,
        has_batches: bool = True,
    ) -> None:
        self.batch_seconds, self.latency_s, self.has_batches = batch_seconds, latency_s, has_batches
        self.rate_limit_headers = rate_limit_headers or {}
        self.honours_output_config = True
        self.lock = threading.RLock()
        self.random = random.Random(seed)
        self.faults: deque[Fault] = deque()
        self.fault_for: Callable[[str], Fault | None] = lambda _chunk_text: None
        """Fault of a direct or batched request by the text of its chunk, after those of `fail_next` are used up."""
        self.storm: Callable[[int], Fault | None] = lambda _number: None
        """Fault of the n-th direct request, from 0."""
        self.paid: list[Paid] = []
        self.started_at: list[float] = []
        """Moment at which each direct request came in."""
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = 0
        self.list_calls = 0
        self.batches: dict[str, FakeBatch] = {}
        self.lose_next_creates = 0
        """Batches that are created while the response is lost."""
        self.fail_next_creates = 0
        """Creations that get a 500 without a batch."""
        self.before_create: Callable[[], None] = lambda: None
        """Called when a creation comes in, before anything is done about it."""
        self.always_expire = False
        self.expire_share = 0.0
        self.error_share = 0.0
        self.batch_error = "overloaded_error"
        self.cut_results_after: deque[int] = deque()
        """Each entry: the connection of one results request is cut after so many lines (and a half)."""
        self.short_results: deque[int] = deque()
        """Each entry: one results request ends cleanly after so many lines."""
        self._cached: set[str] = set()
        self._counter = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeMessagesServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def cost_usd(self) -> float:
        """What everything so far would be billed at."""
        with self.lock:
            return sum(paid.cost_usd for paid in self.paid)

    def paid_texts(self) -> list[str]:
        """Text of the chunk of every paid request."""
        with self.lock:
            return [paid.chunk_text for paid in self.paid]

    def fail_next(self, kind: str, times: int = 1, *, seconds: float = 0.0, text: str = "") -> None:
        """Let the next direct requests go wrong.

        Transport: `rate_limited` (429, `seconds` as retry-after), `overloaded`, `overloaded_for_good` (x-should-retry:
        false), `server_error`, `spend_limit`, `unauthorized`, `bad_request`, `slow` (answers after `seconds`),
        `cut_before` (nothing done), `cut_after` (done and billed, connection cut), `not_json`.
        Answer: `truncated`, `refusal`, `thinking_first`, `schema_violation`, `fewer`, `more`, `duplicates`, `empty`,
        `prose`, `skip`, `text` (answers `text`).
        """
        with self.lock:
            self.faults.extend([Fault(kind, seconds, text)] * times)

    # ── what a request is answered with ──────────────────────────────────────────────────────────────────────────

    def next_fault(self, chunk_text: str) -> Fault | None:
        with self.lock:
            number = len(self.started_at)
            self.started_at.append(time.monotonic())
            return self.faults.popleft() if self.faults else self.storm(number) or self.fault_for(chunk_text)

    def message(self, body: dict[str, Any], fault: Fault | None, *, via: str, custom_id: str = "") -> dict[str, Any]:
        """The message that answers a valid request, entered in the log of paid requests."""
        text = chunk_text_of(body)
        with self.lock:
            self._counter += 1
            message_id = f"msg_{self._counter:08d}"
            content, stop_reason, output_text = _content(body, text, fault, self.honours_output_config)
            usage = self._usage(body, output_text, via)
            self.paid.append(Paid(text, via, _cost(body["model"], usage), usage, custom_id))
        return {
            "id": message_id, "type": "message", "role": "assistant", "model": body["model"], "content": content,
            "stop_reason": stop_reason, "stop_sequence": None, "usage": usage,
            **({"stop_details": {"type": "refusal", "category": "cyber", "explanation": None}}
               if stop_reason == "refusal" else {}),
        }  # fmt: skip

    def _usage(self, body: dict[str, Any], output_text: str, via: str) -> dict[str, Any]:
        model = body["model"]
        prefix, rest = _prefix_and_rest(body)
        prefix_tokens = count_tokens(prefix, model)
        block = (body.get("system") or [{}])[-1] if isinstance(body.get("system"), list) else {}
        control = block.get("cache_control")
        read = written = 0
        if control and prefix_tokens >= MIN_CACHEABLE.get(model, 10**9):
            hit = prefix in self._cached and (via == "direct" or self.random.random() < 0.7)
            read, written = (prefix_tokens, 0) if hit else (0, prefix_tokens)
            self._cached.add(prefix)
        one_hour = written if control and control.get("ttl") == "1h" else 0
        return {
            "input_tokens": count_tokens(rest, model) + 9 + (0 if read or written else prefix_tokens),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": written - one_hour,
                "ephemeral_1h_input_tokens": one_hour,
            },
            "output_tokens": count_tokens(output_text, model),
            "service_tier": "batch" if via == "batch" else "standard",
        }

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def create_batch(self, requests: list[dict[str, Any]]) -> FakeBatch:
        with self.lock:
            self._counter += 1
            batch = FakeBatch(f"msgbatch_{self._counter:08d}", time.time(), requests)
            self.batches[batch.batch_id] = batch
            return batch

    def end_if_due(self, batch: FakeBatch) -> None:
        with self.lock:
            if batch.ended or time.time() - batch.created < self.batch_seconds:
                return
            fates = list(range(len(batch.requests)))
            self.random.shuffle(fates)
            expired = set(fates[: round((1.0 if self.always_expire else self.expire_share) * len(fates))])
            failed = set(fates[len(expired) :][: round(self.error_share * len(fates))])
            for number, request in enumerate(batch.requests):
                result = self._result(request, number in expired, number in failed)
                batch.lines.append({"custom_id": request["custom_id"], "result": result})
            self.random.shuffle(batch.lines)
            self.expire_share = self.error_share = 0.0
            batch.ended = True

    def _result(self, request: dict[str, Any], expired: bool, failed: bool) -> dict[str, Any]:
        if expired:
            return {"type": "expired"}
        problem = _problem_of(request["params"])
        if failed or problem:
            kind = "invalid_request_error" if problem else self.batch_error
            error = {"type": "error", "error": {"type": kind, "message": problem or kind}, "request_id": "req_batch"}
            return {"type": "errored", "error": error}
        fault = self.fault_for(chunk_text_of(request["params"]))
        custom_id = request["custom_id"]
        message = self.message(request["params"], fault, via="batch", custom_id=custom_id)
        return {"type": "succeeded", "message": message}

    def batch_json(self, batch: FakeBatch) -> dict[str, Any]:
        self.end_if_due(batch)
        created = datetime.fromtimestamp(batch.created, UTC)
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if batch.ended:
            for line in batch.lines:
                counts[line["result"]["type"]] += 1
        else:
            counts["processing"] = len(batch.requests)
        results_url = f"{self.base_url}/v1/messages/batches/{batch.batch_id}/results" if batch.ended else None
        return {
            "id": batch.batch_id, "type": "message_batch",
            "processing_status": "ended" if batch.ended else "in_progress", "request_counts": counts,
            "created_at": created.isoformat(),
            "expires_at": (created + timedelta(hours=24)).isoformat(),
            "ended_at": datetime.now(UTC).isoformat() if batch.ended else None,
            "archived_at": None, "cancel_initiated_at": None, "results_url": results_url,
        }  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    fake: FakeMessagesServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed or gave up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body go out in two writes; with Nagle's algorithm every answer would wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Silence."""

    @property
    def fake(self) -> FakeMessagesServer:
        return self.server.fake

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(value).encode(), headers)

    def _bytes(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", f"req_{hashlib.sha256(data + str(time.time()).encode()).hexdigest()[:20]}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _error(
        self, status: int, kind: str, message: str, headers: dict[str, str] | None = None, **details: str
    ) -> None:
        error: dict[str, Any] = {"type": kind, "message": message}
        if details:
            error["details"] = details
        self._json(status, {"type": "error", "error": error, "request_id": "req_error"}, headers)

    def _cut(self) -> None:
        """Reset the connection, so that the client sees it at once."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionAbortedError

    def _is_authorised(self) -> bool:
        token = self.headers.get("authorization", "")
        if not (token.startswith("Bearer ") and len(token) > 7) and not self.headers.get("x-api-key"):
            self._error(401, "authentication_error", "no key")
            return False
        if not self.headers.get("anthropic-version"):
            self._error(400, "invalid_request_error", "anthropic-version: header is required")
            return False
        return True

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = urlsplit(self.path).path
        if not self._is_authorised():
            return
        if path == "/v1/messages":
            self._messages(body)
        elif path == "/v1/messages/count_tokens":
            prefix, rest = _prefix_and_rest(body)
            self._json(200, {"input_tokens": count_tokens(prefix + " " + rest, body["model"]) + 9})
        elif path == "/v1/messages/batches" and self.fake.has_batches:
            self._create_batch(body, length)
        elif path.endswith("/cancel") and self.fake.has_batches:
            batch = self.fake.batches[path.split("/")[-2]]
            self._json(200, self.fake.batch_json(batch) | {"processing_status": "canceling"})
        else:
            self._error(404, "not_found_error", path)

    def do_DELETE(self) -> None:
        batch = self.fake.batches.get(self.path.rsplit("/", 1)[-1])
        if batch is None:
            self._error(404, "not_found_error", "no such batch")
        elif not batch.ended:
            self._error(400, "invalid_request_error", "the batch is still running")
        else:
            del self.fake.batches[batch.batch_id]
            self._json(200, {"id": batch.batch_id, "type": "message_batch_deleted"})

    def do_GET(self) -> None:
        if not self._is_authorised():
            return
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[:3] != ["v1", "messages", "batches"] or not self.fake.has_batches:
            self._error(404, "not_found_error", url.path)
        elif len(parts) == 3:
            self._list(parse_qs(url.query))
        elif parts[3] not in self.fake.batches:
            self._error(404, "not_found_error", "no such batch")
        elif len(parts) == 4:
            self._json(200, self.fake.batch_json(self.fake.batches[parts[3]]))
        else:
            self._results(self.fake.batches[parts[3]])

    # ── /v1/messages ─────────────────────────────────────────────────────────────────────────────────────────────

    def _messages(self, body: dict[str, Any]) -> None:
        fake = self.fake
        with fake.lock:
            fake.in_flight += 1
            fake.bodies.append(body)
        try:
            problem = _problem_of(body)
            if problem:
                self._error(400, "invalid_request_error", problem)
                return
            fault = fake.next_fault(chunk_text_of(body))
            if fault is not None and self._failed(fault):
                return
            time.sleep(fake.latency_s + (fault.seconds if fault and fault.kind == "slow" else 0.0))
            message = fake.message(body, fault, via="direct")
            if fault is not None and fault.kind == "cut_after":
                self._cut()
            if fault is not None and fault.kind == "not_json":
                self._bytes(200, b"<html>gateway</html>")
                return
            self._json(200, message, {"anthropic-ratelimit-requests-remaining": "1000", **fake.rate_limit_headers})
        finally:
            with fake.lock:
                fake.in_flight -= 1

    def _failed(self, fault: Fault) -> bool:
        """Answer a fault that keeps the request from being carried out."""
        retry_after = {"retry-after": f"{fault.seconds:g}"} if fault.seconds else {}
        no_retry = {"x-should-retry": "false"}
        match fault.kind:
            case "rate_limited":
                self._error(429, "rate_limit_error", "slow down", retry_after)
            case "spend_limit":
                code = "enforced_spend_limit_reached"
                self._error(429, "rate_limit_error", "spend limit", no_retry, error_code=code)
            case "overloaded":
                self._error(529, "overloaded_error", "overloaded", retry_after)
            case "overloaded_for_good":
                self._error(529, "overloaded_error", "overloaded", no_retry)
            case "server_error":
                self._error(500, "api_error", "internal")
            case "unauthorized":
                key = self.headers.get("authorization", "").removeprefix("Bearer ")
                self._error(401, "authentication_error", f"invalid key {key}")
            case "bad_request":
                self._error(400, "invalid_request_error", "no")
            case "cut_before":
                self._cut()
            case _:
                return False
        return True

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _create_batch(self, body: dict[str, Any], length: int) -> None:
        self.fake.before_create()
        requests = body.get("requests") or []
        ids = [request.get("custom_id", "") for request in requests]
        if not requests or len(requests) > 100_000 or len(set(ids)) < len(ids):
            self._error(400, "invalid_request_error", "requests: 1 to 100,000 with unique custom_id")
        elif any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", custom_id) for custom_id in ids):
            self._error(400, "invalid_request_error", "custom_id: 1 to 64 of a-z, A-Z, 0-9, _ and -")
        elif length > 256_000_000:
            self._error(413, "request_too_large", "256 MB")
        elif self.fake.fail_next_creates > 0:
            self.fake.fail_next_creates -= 1
            self._error(500, "api_error", "internal")
        else:
            batch = self.fake.create_batch(requests)
            if self.fake.lose_next_creates > 0:
                self.fake.lose_next_creates -= 1
                self._cut()
            self._json(200, self.fake.batch_json(batch))

    def _list(self, query: dict[str, list[str]]) -> None:
        with self.fake.lock:
            self.fake.list_calls += 1
            newest_first = list(self.fake.batches.values())[::-1]
        ids = [batch.batch_id for batch in newest_first]
        after, before = query.get("after_id", [""])[0], query.get("before_id", [""])[0]
        start = ids.index(after) + 1 if after in ids else 0
        end = ids.index(before) if before in ids else len(ids)
        limit = int(query.get("limit", ["20"])[0])
        page = newest_first[start:end][:limit]
        self._json(200, {
            "data": [self.fake.batch_json(batch) for batch in page], "has_more": start + len(page) < end,
            "first_id": page[0].batch_id if page else None, "last_id": page[-1].batch_id if page else None,
        })  # fmt: skip

    def _results(self, batch: FakeBatch) -> None:
        if not batch.ended:
            self._error(404, "not_found_error", "results are not ready")
            return
        lines = [json.dumps(line).encode() + b"\n" for line in batch.lines]
        self.send_response(200)
        self.send_header("content-type", "application/x-jsonl")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        cut = self.fake.cut_results_after.popleft() if self.fake.cut_results_after else None
        if self.fake.short_results:
            lines = lines[: self.fake.short_results.popleft()]
        for number, line in enumerate(lines):
            if number == cut:
                self._write_chunk(line[: len(line) // 2])
                # Let the client read what was sent before the reset throws it away.
                time.sleep(0.05)
                self._cut()
            self._write_chunk(line)
        self.wfile.write(b"0\r\n\r\n")

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _problem_of(body: dict[str, Any]) -> str:
    """Why the API refuses a body; empty when it does not."""
    for name in ("model", "max_tokens", "messages"):
        if not body.get(name):
            return f"{name}: field required"
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return f"{name}: sampling parameters are not supported"
    if body.get("stream"):
        return "stream is not supported here"
    if body["messages"][-1]["role"] != "user":
        return "messages: the last message must be the user's"
    effort = (body.get("output_config") or {}).get("effort")
    if body["model"].startswith("claude-haiku-4-5") and (
        effort or (body.get("thinking") or {}).get("type") == "adaptive"
    ):
        return "output_config.effort: not supported by this model"
    return ""


def _prefix_and_rest(body: dict[str, Any]) -> tuple[str, str]:
    system = body.get("system") or ""
    if isinstance(system, list):
        system = " ".join(block["text"] for block in system)
    schema = (body.get("output_config") or {}).get("format")
    prefix = f"{system} {json.dumps(schema) if schema else ''}"
    contents = [message["content"] for message in body["messages"]]
    rest = " ".join(
        content if isinstance(content, str) else " ".join(block.get("text", "") for block in content)
        for content in contents
    )
    return prefix, rest


def count_tokens(text: str, model: str) -> int:
    """Pieces of words and single punctuation marks; finer for the newer tokenizer."""
    size = next((size for name, size in CHARACTERS_IN_A_PIECE.items() if model.startswith(name)), 4.0)
    return sum(math.ceil(len(piece) / size) if piece[0].isalnum() else 1 for piece in re.findall(r"\w+|[^\w\s]", text))


def _cost(model: str, usage: dict[str, Any]) -> float:
    input_price, output_price = next((p for name, p in PRICES.items() if model.startswith(name)), (0.0, 0.0))
    written = usage["cache_creation"]
    tokens = (
        usage["input_tokens"]
        + 1.25 * written["ephemeral_5m_input_tokens"]
        + 2 * written["ephemeral_1h_input_tokens"]
        + 0.1 * usage["cache_read_input_tokens"]
    )
    cost = (tokens * input_price + usage["output_tokens"] * output_price) / 1e6
    return cost / 2 if usage["service_tier"] == "batch" else cost


def chunk_text_of(body: dict[str, Any]) -> str:
    """Text of the chunk that a request is about."""
    content = body["messages"][-1]["content"] if body.get("messages") else ""
    content = content if isinstance(content, str) else " ".join(block.get("text", "") for block in content)
    match = re.fullmatch(r"<(passage|pair)>\n(.*)\n</\1>", content, re.DOTALL)
    if match:
        with contextlib.suppress(ValueError):
            return json.loads(match.group(2))["text" if match.group(1) == "passage" else "question"]
    return content.split("Text:\n", 1)[-1]


def pair_of(body: dict[str, Any]) -> tuple[str, str] | None:
    """Question and passage of a request for a verdict."""
    content = body["messages"][-1]["content"]
    match = re.fullmatch(r"<pair>\n(.*)\n</pair>", content, re.DOTALL) if isinstance(content, str) else None
    if match is None:
        return None
    pair = json.loads(match.group(1))
    return pair["question"], pair["passage"]


def shares_words(question: str, passage: str) -> bool:
    """The fake's idea of an answer: half of the question's longer words stand in the passage."""
    words = {word.casefold() for word in re.findall(r"\w{4,}", question)} - _STOP_WORDS
    return 2 * sum(word in passage.casefold() for word in words) >= max(1, len(words))


def questions_about(text: str, keys: list[str]) -> dict[str, str]:
    """One question a key, made of the chunk's words, of the lengths that real answers have."""
    words = [word for word in dict.fromkeys(re.findall(r"\w{4,20}", text)) if word.casefold() not in _STOP_WORDS]
    words = words or re.findall(r"\w+", text)[:5] or ["nothing"]
    questions = {}
    for number, key in enumerate(keys):
        digest = hashlib.sha256(f"{key}|{text}".encode()).digest()
        picked = [words[digest[i] * len(words) // 256] for i in range(12)]
        picked = [*dict.fromkeys(picked), f"case{digest[0]}"]
        style = key.rstrip("_0123456789")
        if style == "keyword":
            questions[key] = " ".join(picked[:5])
        elif style == "situation":
            questions[key] = (
                f"Someone noticed {' and then '.join(picked[:4])} and does not know what it could mean here"[:190]
            )
        elif style == "specific":
            questions[key] = f"How exactly is {picked[0]} handled when {' or '.join(picked[1:4])} has been seen there?"[
                :190
            ]
        else:
            lead = ("What should I know about", "Why does", "When is it time for")[number % 3]
            questions[key] = f"{lead} {', '.join(picked[:3])} together with the {picked[-1]} that follows?"[:190]
    return questions


def _content(
    body: dict[str, Any], text: str, fault: Fault | None, honours_output_config: bool
) -> tuple[list[dict[str, Any]], str, str]:
    """Content blocks, stop reason, and the text that is billed."""
    kind = fault.kind if fault else ""
    if kind == "refusal":
        return [], "refusal", ""
    if kind == "empty":
        return [], "end_turn", ""
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    pair = pair_of(body)
    if pair:
        value: Any = {"answered": shares_words(*pair)}
    elif schema:
        value = questions_about(text, [key for key in schema["properties"] if key != "skip_reason"])
        value = _spoiled({"skip_reason": "", **value}, kind)
    else:
        system = body.get("system") or [{"text": ""}]
        keys = re.search(r"Its keys: skip_reason, (.*)\.$", system[-1]["text"])
        value = questions_about(text, keys.group(1).split(", ") if keys else ["plain_1", "plain_2", "plain_3"])
        value = value if keys else list(value.values())
    answer = json.dumps(value, ensure_ascii=False)
    if kind == "schema_violation":
        answer = "I would rather talk about something else."
    if kind == "prose" or not honours_output_config:
        answer = f"Here you are:\n```json\n{json.dumps(value, indent=1)}\n```\nAnything else?"
    if kind == "text" and fault is not None:
        answer = fault.text
    stop_reason = "end_turn"
    if kind == "truncated":
        answer, stop_reason = answer[: len(answer) // 2], "max_tokens"
    blocks: list[dict[str, Any]] = [{"type": "text", "text": answer}]
    if kind == "thinking_first":
        blocks.insert(0, {"type": "thinking", "thinking": "Let me see.", "signature": "x"})
    return blocks, stop_reason, answer


def _spoiled(value: dict[str, Any], kind: str) -> dict[str, Any]:
    keys = [key for key in value if key != "skip_reason"]
    if kind == "fewer":
        return {"skip_reason": "", keys[0]: value[keys[0]]}
    if kind == "more":
        return {
            **value,
            keys[0]: [value[keys[0]], "What else is there to know about it?"],
            "bonus": "And what is this?",
        }
    if kind == "duplicates":
        return {"skip_reason": "", **dict.fromkeys(keys, value[keys[0]])}
    if kind == "skip":
        return {"skip_reason": "table of contents", **dict.fromkeys(keys, "")}
    return value
