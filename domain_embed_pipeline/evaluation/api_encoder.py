"""A managed embedding API as an `Encoder`, to be measured beside our own models.

What belongs here: any endpoint that speaks OpenAI's `POST /embeddings`. What does not: caching (wrap it in
`CachedEncoder`), the table and the advice (`comparators`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.ids import digest_of_json

if TYPE_CHECKING:
    import httpx
    import numpy as np

logger = logging.getLogger(__name__)

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Which endpoint, and how patiently."""

    base_url: str
    """Such as https://api.openai.com/v1."""
    model: str
    dimensions: int | None = None
    """Asked of models that can shorten their vectors; None takes what comes, which costs a call to learn."""
    max_length: int = 8191
    batch_size: int = 128
    attempts: int = 6
    timeout_s: float = 60.0
    dollars_per_million_tokens: float = 0.0


class ApiEncoder:
    """Vectors of a managed API, with the tokens and dollars that they cost.

    The vectors are named by URL, model and dimension: an API gives no digest of its weights, so a model that is
    changed behind its name cannot be told.
    """

    def __init__(
        self,
        settings: ApiSettings,
        client: httpx.Client,
        *,
        api_key: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask the endpoint once for the dimension, unless the settings name it.

        Raises:
            EvaluationError: If it does not answer as it should.
        """
        self.settings, self._client, self._sleep = settings, client, sleep
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.tokens = 0
        dimension = settings.dimensions or self._ask(["dimension"]).shape[1]
        identity = {"url": settings.base_url, "model": settings.model, "dimension": dimension}
        self.spec = EncoderSpec(
            model_version=settings.model,
            fingerprint=f"api-{digest_of_json(identity)[:24]}",
            dimension=dimension,
            max_length=settings.max_length,
            query_prompt="",
            passage_prompt="",
            normalize=True,
            dtype="float32",
        )

    @property
    def dollars(self) -> float:
        """Price of the tokens that were sent so far, as the endpoint counted them."""
        return self.tokens * self.settings.dollars_per_million_tokens / 1e6

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), dimension).

        Raises:
            EvaluationError: If the endpoint refuses, keeps failing, or answers for other texts.
        """
        import numpy as np

        size = self.settings.batch_size
        blocks = [self._ask(texts[start : start + size]) for start in range(0, len(texts), size)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.spec.dimension), dtype=np.float32)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """As `encode_queries`: such APIs make no difference between the two."""
        return self.encode_queries(texts)

    def _ask(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        body: dict[str, Any] = {"model": self.settings.model, "input": [text or " " for text in texts]}
        body["encoding_format"] = "float"
        if self.settings.dimensions:
            body["dimensions"] = self.settings.dimensions
        response = self._post(body)
        try:
            reply = response.json()
            rows = sorted(reply["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
            places = [row["index"] for row in rows]
            self.tokens += int(reply.get("usage", {}).get("total_tokens", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong(f"answered without usable vectors ({error!r})") from error
        norms = np.linalg.norm(vectors, axis=1, keepdims=True) if vectors.ndim == 2 else np.zeros(1)
        width = self.settings.dimensions or vectors.shape[-1]
        if vectors.ndim == 2 and vectors.shape[1] != width:
            raise self._wrong(f"gave vectors of {vectors.shape[1]} dimensions where {width} were asked for")
        if places != list(range(len(texts))) or vectors.ndim != 2 or not (np.isfinite(norms) & (norms > 0)).all():
            raise self._wrong(f"answered {len(texts)} texts with vectors of shape {vectors.shape}")
        return vectors / norms

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        import httpx

        url, attempts = f"{self.settings.base_url.rstrip('/')}/embeddings", self.settings.attempts
        problem = ""
        for attempt in range(attempts):
            pause = min(60.0, 2.0**attempt)
            try:
                reply = self._client.post(url, json=body, headers=self._headers, timeout=self.settings.timeout_s)
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if reply.is_success:
                    return reply
                problem = f"HTTP {reply.status_code}: {reply.text[:200]}"
                if reply.status_code not in _RETRIED:
                    raise self._wrong(problem)
                pause = _seconds(reply.headers.get("retry-after")) or pause
            if attempt + 1 < attempts:
                logger.warning("%s: %s; asking again in %.0f s.", url, problem, pause)
                self._sleep(pause)
        raise self._wrong(f"kept failing, {attempts} times: {problem}")

    def _wrong(self, problem: str) -> EvaluationError:
        return EvaluationError(
            f"The embeddings endpoint {self.settings.base_url} (model {self.settings.model!r}) {problem}.",
            fix="Check URL, key, model name and limits of the account, or leave this comparator out.",
        )


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None  # An HTTP date: the usual pause will do.
