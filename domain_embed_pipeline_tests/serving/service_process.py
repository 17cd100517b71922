"""The search service in a process of its own, as `domain-embed serve` runs it, over word encoders.

    python -m domain_embed_pipeline_tests.serving.service_process PATH_OR_URL

Prints its port once it listens, and serves until it is ended.
"""

from __future__ import annotations

import sys
import threading
import time

import uvicorn

from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.service import create_app
from domain_embed_pipeline.serving.store import QdrantSettings
from domain_embed_pipeline_tests.serving.scenario import ALIAS, WordEncoder

ENCODERS = {
    encoder.spec.model_version: encoder
    for encoder in (WordEncoder("model-old", seed=1), WordEncoder("model-new", seed=2))
}


def main(place: str) -> None:
    """Serve until the process is ended."""
    settings = QdrantSettings(url=place) if place.startswith("http") else QdrantSettings(path=place)
    retries = RetryPolicy(attempts=6, base_s=0.02, cap_s=0.5)
    retriever = Retriever(
        settings, ALIAS, lambda spec: ENCODERS[spec.model_version], load_in_background=True, retries=retries
    )
    server = uvicorn.Server(uvicorn.Config(create_app(retriever), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)  # noqa: T201
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
