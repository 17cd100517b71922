"""The search service: settings, and running it. Needs the `serve` extra.

What belongs here: what the operator decides. What does not: routes (`http_app`), search (`retriever`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import ConfigurationError, MissingDependencyError
from domain_embed_pipeline.serving.retriever import Retriever

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Bounds of what one request, and all of them together, may cost."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Any of them opens the service; none leaves it open to whoever reaches the port."""
    max_body_bytes: int = 2_000_000
    max_query_chars: int = 8_000
    max_k: int = 100
    max_texts: int = 256
    """Texts in one request for embeddings."""
    max_text_chars: int = 32_000
    batch_size: int = 32
    """Requests answered in one pass of the encoder."""
    queue_limit: int = 256
    """Requests that may wait; more get a 503 at once, instead of a timeout later."""
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if any(len(key) < 8 for key in self.api_keys):
            raise ConfigurationError("An API key has less than 8 characters.", fix="Use a long random key.")

    def accepts(self, key: str | None) -> bool:
        """Whether a request with this key is let in; takes the same time for every wrong key."""
        if not self.api_keys:
            return True
        given = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
        matches = [hmac.compare_digest(given, hashlib.sha256(accepted.encode()).digest()) for accepted in self.api_keys]
        return any(matches)


def create_app(retriever: Retriever, settings: ServiceSettings | None = None) -> FastAPI:
    """The ASGI application. It closes the retriever when it shuts down.

    Raises:
        MissingDependencyError: If the `serve` extra is not installed.
    """
    try:
        from domain_embed_pipeline.serving.http_app import build_app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The search service needs the package {error.name}.", fix="pip install 'domain-embed-pipeline[serve]'"
        ) from error
    return build_app(retriever, settings or ServiceSettings())


def run_service(
    retriever: Retriever, settings: ServiceSettings | None = None, *, host: str = "127.0.0.1", port: int = 8080
) -> None:
    """Serve until interrupted.

    Raises:
        MissingDependencyError: If the `serve` extra is not installed.
    """
    settings = settings or ServiceSettings()
    app = create_app(retriever, settings)
    if host not in _LOOPBACK and not settings.api_keys:
        logger.warning("Listening on %s without an API key: whoever reaches port %d can search.", host, port)
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False, timeout_keep_alive=30)
