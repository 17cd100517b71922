"""The search service: making the application and running it. Needs the `serve` extra.

What belongs here: the way in for whoever runs it. What does not: its bounds (`service_settings`), routes (`http_app`),
search (`retriever`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import MissingDependencyError
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.service_settings import ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


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
