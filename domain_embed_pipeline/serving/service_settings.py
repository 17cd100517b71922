"""What the operator of the search service decides: who is let in, and what a request may cost.

What belongs here: bounds and keys. What does not: keeping to them (`http_app`), host and port (`service`).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from domain_embed_pipeline.errors import ConfigurationError


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
