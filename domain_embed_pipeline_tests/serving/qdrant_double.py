"""A loopback HTTP server that speaks the part of Qdrant's REST API that we use, onto an in-memory client.

It tests what the embedded store cannot: serialisation, retries, waiting for green, requests that were carried out
though their answer was lost. It does not test HNSW or quantization. What the in-memory client ignores (optimizer
settings, payload indexes, quantization, replicas) is kept beside it and reported as a server would.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models

_LAYOUT = ("shard_number", "replication_factor", "write_consistency_factor")


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" matches."""

    pattern: str
    times: int
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    """Carry the request out and lose the answer, instead of refusing it."""


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class QdrantDouble:
    def __init__(
        self, api_key: str | None = None, certificate: str | None = None, accepted_client: str | None = None
    ) -> None:
        """`certificate` (PEM with key) makes it speak TLS, `accepted_client` makes it ask for a client's own."""
        self.memory = QdrantClient(":memory:")
        self.api_key = api_key
        self.requests: list[str] = []
        self.searches: list[dict[str, Any]] = []
        """Bodies of queries as they came."""
        self.indexing_thresholds: list[int | None] = []
        """In force at each upload."""
        self.faults: list[Fault] = []
        self.delays: list[tuple[str, float]] = []
        self.statuses: dict[str, list[str]] = {}
        """Statuses that a collection goes through, one a look; the last stays."""
        self.asleep = False
        """Grey until somebody updates the collection."""
        self.misses = 0
        """Approximate dense search overlooks so many of the nearest."""
        self.forbids_exact = False
        self.on_request: Callable[[str, bool], None] | None = None
        """Called with each request's line, before (False) and after (True) it is carried out."""
        self.overtake: Callable[[], Any] | None = None
        """What somebody else does right after each alias update."""
        self.extras: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self._server.double = self
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=accepted_client)
            context.verify_mode = ssl.CERT_REQUIRED if accepted_client else ssl.CERT_NONE
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, pattern: str, *, times: int = 1, status: int = 500, after: bool = False, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(pattern, times, status, named, after))

    def count(self, pattern: str) -> int:
        return sum(1 for line in self.requests if re.search(pattern, line))

    def take_fault(self, line: str, *, after: bool) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and fault.after == after and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None

    def delay_of(self, line: str) -> float:
        return sum(seconds for pattern, seconds in self.delays if re.search(pattern, line))

    def answer(self, method: str, path: str, body: Any) -> Any:
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for route, pattern, function in ROUTES:
                match = re.fullmatch(pattern, path)
                if route == method and match:
                    try:
                        return function(self, *[unquote(part) for part in match.groups()], body)
                    except (ValueError, KeyError) as error:
                        status = 404 if "not found" in str(error) else 409 if "already exists" in str(error) else 400
                        raise RefusedError(status, str(error)) from error
        raise RefusedError(404, f"no route {method} {path}")

    # --- collections ---

    def list_collections(self, _: Any) -> Any:
        return {"collections": [{"name": row.name} for row in self.memory.get_collections().collections]}

    def create_collection(self, name: str, body: Any) -> Any:
        request = models.CreateCollection(**body)
        self.memory.create_collection(
            name,
            vectors_config=request.vectors,
            sparse_vectors_config=request.sparse_vectors,
            metadata=request.metadata,
        )
        self.extras[name] = {
            "optimizers": dict(body.get("optimizers_config") or {}),
            "quantization": body.get("quantization_config"),
            "params": {key: body[key] for key in _LAYOUT if body.get(key)},
            "indexes": {},
        }
        return True

    def update_collection(self, name: str, body: Any) -> Any:
        request = models.UpdateCollection(**body)
        target = self._real(name)
        if request.metadata is not None:
            self.memory.update_collection(target, metadata=request.metadata)
        self.extras[target]["optimizers"] |= body.get("optimizers_config") or {}
        self.asleep = False
        return True

    def delete_collection(self, name: str, _: Any) -> Any:
        self.extras.pop(name, None)
        return self.memory.delete_collection(name)

    def get_collection(self, name: str, _: Any) -> Any:
        info = json.loads(self.memory.get_collection(name).model_dump_json())
        extras = self.extras.get(self._real(name), {})
        if extras:
            info["config"]["optimizer_config"] |= extras["optimizers"]
            info["config"]["quantization_config"] = extras["quantization"]
            info["config"]["params"] |= extras["params"]
            info["payload_schema"] = {key: {"data_type": "keyword", "points": 0} for key in extras["indexes"]}
        script = self.statuses.get(self._real(name))
        if script:
            info["status"] = script.pop(0) if len(script) > 1 else script[0]
        if self.asleep:
            info["status"] = "grey"
        return info

    def exists(self, name: str, _: Any) -> Any:
        return {"exists": self.memory.collection_exists(name)}

    def create_index(self, name: str, body: Any) -> Any:
        self.extras[name]["indexes"][body["field_name"]] = body["field_schema"]
        return {"operation_id": 0, "status": "completed"}

    def _real(self, name: str) -> str:
        targets = {row.alias_name: row.collection_name for row in self.memory.get_aliases().aliases}
        return targets.get(name, name)

    # --- aliases ---

    def list_aliases(self, _: Any) -> Any:
        return json.loads(self.memory.get_aliases().model_dump_json())

    def update_aliases(self, body: Any) -> Any:
        answer = self.apply_aliases(body)
        if self.overtake is not None:
            self.overtake()
        return answer

    def apply_aliases(self, body: Any) -> Any:
        request = models.ChangeAliasesOperation(**body)
        return self.memory.update_collection_aliases(request.actions)

    # --- points ---

    def upsert(self, name: str, body: Any) -> Any:
        self.indexing_thresholds.append(self.extras[self._real(name)]["optimizers"].get("indexing_threshold"))
        self.memory.upsert(name, models.PointsList(**body).points)
        return {"operation_id": 0, "status": "completed"}

    def delete_points(self, name: str, body: Any) -> Any:
        self.memory.delete(name, models.PointIdsList(**body))
        return {"operation_id": 0, "status": "completed"}

    def batch_update(self, name: str, body: Any) -> Any:
        operations = TypeAdapter(list[models.UpdateOperation]).validate_python(body["operations"])
        self.memory.batch_update_points(name, operations)
        return [{"operation_id": 0, "status": "completed"} for _ in operations]

    def retrieve(self, name: str, body: Any) -> Any:
        request = models.PointRequest(**body)
        records = self.memory.retrieve(
            name, request.ids, with_payload=request.with_payload or False, with_vectors=request.with_vector or False
        )
        return [json.loads(record.model_dump_json()) for record in records]

    def scroll(self, name: str, body: Any) -> Any:
        request = models.ScrollRequest(**body)
        records, offset = self.memory.scroll(
            name,
            scroll_filter=request.filter,
            limit=request.limit or 10,
            offset=request.offset,
            with_payload=request.with_payload if request.with_payload is not None else True,
            with_vectors=request.with_vector or False,
        )
        return {
            "points": [json.loads(record.model_dump_json()) for record in records],
            "next_page_offset": offset,
        }

    def count_points(self, name: str, body: Any) -> Any:
        request = models.CountRequest(**body)
        return {"count": self.memory.count(name, count_filter=request.filter, exact=True).count}

    def query(self, name: str, body: Any) -> Any:
        self.searches.append(body)
        request = models.QueryRequest(**body)
        exact = request.params is not None and bool(request.params.exact)
        if exact and self.forbids_exact:
            raise RefusedError(400, "strict mode: exact search is not allowed")
        overlooked = self.misses if request.using == "dense" and not exact else 0
        limit = (request.limit or 10) + overlooked
        plain = request.model_copy(update={"params": None, "limit": limit})
        (response,) = self.memory.query_batch_points(name, [plain])
        return {"points": [json.loads(point.model_dump_json()) for point in response.points[overlooked:]]}

    def query_batch(self, name: str, body: Any) -> Any:
        return [self.query(name, search) for search in body["searches"]]


_NAME = "([^/]+)"
ROUTES = [
    ("GET", "/collections", QdrantDouble.list_collections),
    ("GET", "/aliases", QdrantDouble.list_aliases),
    ("POST", "/collections/aliases", QdrantDouble.update_aliases),
    ("GET", f"/collections/{_NAME}", QdrantDouble.get_collection),
    ("PUT", f"/collections/{_NAME}", QdrantDouble.create_collection),
    ("PATCH", f"/collections/{_NAME}", QdrantDouble.update_collection),
    ("DELETE", f"/collections/{_NAME}", QdrantDouble.delete_collection),
    ("GET", f"/collections/{_NAME}/exists", QdrantDouble.exists),
    ("PUT", f"/collections/{_NAME}/index", QdrantDouble.create_index),
    ("PUT", f"/collections/{_NAME}/points", QdrantDouble.upsert),
    ("POST", f"/collections/{_NAME}/points", QdrantDouble.retrieve),
    ("POST", f"/collections/{_NAME}/points/delete", QdrantDouble.delete_points),
    ("POST", f"/collections/{_NAME}/points/batch", QdrantDouble.batch_update),
    ("POST", f"/collections/{_NAME}/points/scroll", QdrantDouble.scroll),
    ("POST", f"/collections/{_NAME}/points/count", QdrantDouble.count_points),
    ("POST", f"/collections/{_NAME}/points/query", QdrantDouble.query),
    ("POST", f"/collections/{_NAME}/points/query/batch", QdrantDouble.query_batch),
]


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True
    double: QdrantDouble


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def double(self) -> QdrantDouble:
        assert isinstance(self.server, LoopbackServer)
        return self.server.double

    def handle_one(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(size)
        path = urlsplit(self.path).path
        assert "wait" not in parse_qs(urlsplit(self.path).query) or "wait=true" in self.path
        line = f"{self.command} {path}"
        self.double.requests.append(line)
        time.sleep(self.double.delay_of(line))
        if self.double.api_key is not None and self.headers.get("api-key") != self.double.api_key:
            return self.reply(401, {"status": {"error": "Must provide an API key"}})
        fault = self.double.take_fault(line, after=False)
        if self.double.on_request is not None:
            self.double.on_request(line, False)
        if fault is None:
            status, answer = self.carry_out(path, json.loads(raw) if raw else None)
            if self.double.on_request is not None:
                self.double.on_request(line, True)
            fault = self.double.take_fault(line, after=True)
        if fault is not None:
            return self.reply(fault.status, {"status": {"error": "injected"}}, fault.headers)
        return self.reply(status, answer)

    def carry_out(self, path: str, body: Any) -> tuple[int, Any]:
        try:
            return 200, {"result": self.double.answer(self.command, path, body), "status": "ok", "time": 0.0}
        except RefusedError as error:
            return error.status, {"status": {"error": str(error)}, "time": 0.0}

    def reply(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        return


@contextlib.contextmanager
def running_double(
    api_key: str | None = None, certificate: str | None = None, accepted_client: str | None = None
) -> Iterator[QdrantDouble]:
    double = QdrantDouble(api_key, certificate, accepted_client)
    try:
        yield double
    finally:
        double.close()
