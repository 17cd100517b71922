"""Routes of the search service: `/search`, `/v1/embeddings`, `/v1/models`, `/health`, `/metrics`.

What belongs here: HTTP in, HTTP out. What does not: search (`retriever`), batching (`batching`), bounds
(`service_settings`).

No answer repeats what was sent or says where anything lies on disk; details go to the log.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import prometheus_client
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from domain_embed_pipeline.errors import ConfigurationError, DomainEmbedError
from domain_embed_pipeline.serving.batching import MicroBatcher, QueueFullError
from domain_embed_pipeline.serving.body_limit import BodyLimit
from domain_embed_pipeline.serving.records import SearchHit, SearchRequest
from domain_embed_pipeline.serving.retriever import Retriever, is_text, require_sound
from domain_embed_pipeline.serving.service_settings import ServiceSettings

logger = logging.getLogger(__name__)

FilterKey = Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
FilterValue = StrictStr | Annotated[list[StrictStr], Field(min_length=1, max_length=100)]


class SearchBody(BaseModel):
    """Body of `/search`."""

    model_config = ConfigDict(extra="forbid")

    query: StrictStr
    k: StrictInt = 10
    filter: Annotated[dict[FilterKey, FilterValue], Field(max_length=20)] | None = None


class EmbeddingsBody(BaseModel):
    """Body of `/v1/embeddings`, as OpenAI's clients send it; what we have no use for is ignored."""

    input: StrictStr | list[StrictStr]
    model: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")] = "live"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = None
    input_type: Literal["query", "passage"] = "query"
    """Ours: a text to be searched with, or one to be found. Only models with prompts tell them apart."""


@dataclasses.dataclass(frozen=True, slots=True)
class _EmbeddingRequest:
    texts: tuple[str, ...]
    input_type: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Embeddings:
    model_version: str
    vectors: np.ndarray


class _Metrics:
    """What `/metrics` shows; each application has a registry of its own."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.requests = prometheus_client.Counter(
            "domain_embed_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.seconds = prometheus_client.Histogram(
            "domain_embed_request_seconds", "Time to an answer", ["route"], registry=self.registry
        )
        self.batch_sizes = prometheus_client.Histogram(
            "domain_embed_batch_size",
            "Requests answered in one pass of the encoder",
            ["route"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.live = prometheus_client.Gauge(
            "domain_embed_live",
            "1 for the collection that answers",
            ["collection", "model_version"],
            registry=self.registry,
        )

    def show_live(self, collection: str, model_version: str) -> None:
        """Only one collection is live: the series of the one before ends."""
        self.live.clear()
        self.live.labels(collection, model_version).set(1)


class _Service:
    """What the routes share."""

    def __init__(self, retriever: Retriever, settings: ServiceSettings) -> None:
        self.retriever = retriever
        self.settings = settings
        self.metrics = _Metrics()
        self.search: MicroBatcher[SearchRequest, tuple[SearchHit, ...]] = MicroBatcher(
            retriever.search_many,
            batch_size=settings.batch_size,
            queue_limit=settings.queue_limit,
            on_batch=self.metrics.batch_sizes.labels("/search").observe,
        )
        self.embed: MicroBatcher[_EmbeddingRequest, _Embeddings] = MicroBatcher(
            self._embed_many,
            batch_size=settings.batch_size,
            queue_limit=settings.queue_limit,
            on_batch=self.metrics.batch_sizes.labels("/v1/embeddings").observe,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """The batchers run and the retriever is open as long as the application."""
        self.search.start()
        self.embed.start()
        try:
            yield
        finally:
            await self.search.stop()
            await self.embed.stop()
            self.retriever.close()

    async def within_time(self, answer: Awaitable[Any]) -> Any:
        """The awaited answer; status 504 when it takes longer than the settings allow."""
        try:
            return await asyncio.wait_for(answer, self.settings.timeout_s)
        except TimeoutError:
            raise HTTPException(504, "the answer took too long") from None

    def _embed_many(self, requests: Sequence[_EmbeddingRequest]) -> list[_Embeddings]:
        """Vectors of each request; all texts of one kind go through the encoder together."""
        answers: dict[int, _Embeddings] = {}
        for kind, encode in (("query", self.retriever.encode_queries), ("passage", self.retriever.encode_passages)):
            rows = [row for row, request in enumerate(requests) if request.input_type == kind]
            if not rows:
                continue
            index, vectors = encode([text for row in rows for text in requests[row].texts])
            start = 0
            for row in rows:
                end = start + len(requests[row].texts)
                answers[row] = _Embeddings(index.metadata.model_version, vectors[start:end])
                start = end
        return [answers[row] for row in range(len(requests))]


def build_app(retriever: Retriever, settings: ServiceSettings) -> FastAPI:
    """The application; `service.create_app` is the way in."""
    service = _Service(retriever, settings)
    app = FastAPI(title="domain-embed", lifespan=service.lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    _add_search_routes(app, service)
    _add_operations_routes(app, service)
    _add_error_handlers(app)
    _add_measuring(app, service)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    return app


def _key_check(settings: ServiceSettings) -> Callable[[Request], None]:
    def require_key(request: Request) -> None:
        """Status 401 without a key that the settings accept, as bearer token or `api-key` header."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else request.headers.get("api-key")
        if not settings.accepts(given):
            raise HTTPException(401, "no valid API key", headers={"WWW-Authenticate": "Bearer"})

    return require_key


def _add_search_routes(app: FastAPI, service: _Service) -> None:
    settings = service.settings
    guarded = [Depends(_key_check(settings))]

    @app.post("/search", dependencies=guarded)
    async def search(body: SearchBody) -> dict[str, Any]:
        """The nearest chunks, best first."""
        _require(len(body.query) <= settings.max_query_chars, f"query is longer than {settings.max_query_chars}")
        _require(1 <= body.k <= settings.max_k, f"k must be 1 to {settings.max_k}")
        request = SearchRequest(body.query, body.k, body.filter)
        require_sound(request)
        hits = await service.within_time(service.search.submit(request))
        return {"hits": [dataclasses.asdict(hit) for hit in hits]}

    @app.post("/v1/embeddings", dependencies=guarded)
    async def embeddings(body: EmbeddingsBody) -> dict[str, Any]:
        """Vectors in the shape of OpenAI's API."""
        texts = (body.input,) if isinstance(body.input, str) else tuple(body.input)
        _require(1 <= len(texts) <= settings.max_texts, f"input must be 1 to {settings.max_texts} texts")
        longest = max(len(text) for text in texts)
        _require(longest <= settings.max_text_chars, f"a text is longer than {settings.max_text_chars}")
        _require(all(text.strip() and is_text(text) for text in texts), "a text is blank or not valid Unicode")
        result = await service.within_time(service.embed.submit(_EmbeddingRequest(texts, body.input_type)))
        width = result.vectors.shape[1]
        _require(body.dimensions in (None, width), f"dimensions must be {width}")
        rows = [
            {"object": "embedding", "index": row, "embedding": _encoded(vector, body.encoding_format)}
            for row, vector in enumerate(result.vectors)
        ]
        return {"object": "list", "data": rows, "model": result.model_version}

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> dict[str, Any]:
        """The one model that is live."""
        index = await asyncio.to_thread(service.retriever.live_index)
        row = {"id": index.metadata.model_version, "object": "model", "owned_by": "domain-embed"}
        return {"object": "list", "data": [row]}


def _add_operations_routes(app: FastAPI, service: _Service) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """200 when a live index can be reached, else 503."""
        try:
            await service.within_time(asyncio.to_thread(service.retriever.live_index))
        except Exception as error:
            logger.warning("Not healthy: %s", error)
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", dependencies=[Depends(_key_check(service.settings))])
    async def metrics() -> PlainTextResponse:
        """Prometheus text; what is live is left out while the store cannot be reached."""
        with contextlib.suppress(DomainEmbedError):
            index = await asyncio.to_thread(service.retriever.live_index)
            service.metrics.show_live(index.collection, index.metadata.model_version)
        text = prometheus_client.generate_latest(service.metrics.registry)
        return PlainTextResponse(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """422, with places and kinds of the problems."""
        # The default answer repeats the input.
        problems = [{"where": [str(part) for part in row["loc"]][:4], "problem": row["type"]} for row in error.errors()]
        return _error(422, "the body is not as expected", problems=problems[:10])

    @app.exception_handler(ConfigurationError)
    async def unusable(_: Request, error: ConfigurationError) -> JSONResponse:
        """400: what was asked cannot be answered, and the message says why."""
        return _error(400, error.message if len(error.message) <= 200 else "the request is not usable")

    @app.exception_handler(QueueFullError)
    async def full(_: Request, error: QueueFullError) -> JSONResponse:
        """503: try again in a second."""
        return _error(503, "too many requests are waiting", headers={"Retry-After": "1"})

    @app.exception_handler(DomainEmbedError)
    async def unavailable(_: Request, error: DomainEmbedError) -> JSONResponse:
        """503: the cause goes to the log, not to the caller."""
        logger.error("Cannot answer: %s", error)
        return _error(503, "the index cannot be searched now", headers={"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        """What routes refuse, in the shape of all errors."""
        return _error(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        """500 without any detail; the server logs the traceback."""
        return _error(500, "internal error")


def _add_measuring(app: FastAPI, service: _Service) -> None:
    known = {"/search", "/v1/embeddings", "/v1/models", "/health", "/metrics"}

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Count and time every request; one that raises counts as status 500."""
        # Unknown paths share one label, or a scanner would fill the memory with time series.
        route = request.url.path if request.url.path in known else "other"
        started = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            service.metrics.requests.labels(route, str(status)).inc()
            service.metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise HTTPException(400, problem)


def _error(status: int, message: str, *, headers: dict[str, str] | None = None, **details: Any) -> JSONResponse:
    body = {"error": {"message": message, "type": "error", "code": status, **details}}
    return JSONResponse(body, status_code=status, headers=headers)


def _encoded(vector: np.ndarray, encoding_format: str) -> str | list[float]:
    """OpenAI's own client asks for base64 of little-endian float32 unless told otherwise."""
    if encoding_format == "base64":
        return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
    return [float(value) for value in vector]
