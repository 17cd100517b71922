"""A model by any name that people have for one: version, folder, hub name or endpoint, as an encoder with a cache.

What belongs here: finding and opening. What does not: measuring (`standalone`, `measuring`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.encoding.vector_cache import CachedEncoder
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.evaluation.api_encoder import ApiEncoder, ApiSettings
from domain_embed_pipeline.evaluation.api_prices import dollars_per_million_tokens
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.versions import ModelRegistry


@dataclass(frozen=True, slots=True)
class NamedModel:
    """An encoder that is ready, and what it costs."""

    name: str
    encoder: CachedEncoder
    load_uncached: Callable[[], Encoder]
    """The same without its cache, to be timed."""
    api: ApiEncoder | None
    """The endpoint, which counts tokens; None for a model on this machine."""
    dollars_per_million_tokens: float | None
    """None for a model on this machine."""

    @property
    def tokens_sent(self) -> int:
        """Tokens that the endpoint charged for so far."""
        return self.api.tokens if self.api else 0


def is_endpoint(name: str) -> bool:
    """Whether the name is a URL."""
    return name.startswith(("http://", "https://"))


@contextmanager
def open_named_model(
    name: str, registry: ModelRegistry, *, api_key: str = "", price: float | None = None
) -> Iterator[NamedModel]:
    """Find a model and keep its connection, if it needs one, until the block ends.

    Args:
        name: A model version of the registry, a folder, a package or hub name, or `URL#MODEL` of an endpoint that
            speaks OpenAI's `POST /embeddings`, such as `https://api.openai.com/v1#text-embedding-3-small`.
        registry: Holds versions and vectors; a base model that is named becomes a version of it.
        api_key: Sent to an endpoint as a bearer token.
        price: Dollars per million tokens of an endpoint; the list price when the model has a known one.

    Raises:
        ModelError: If nobody has the model.
        ConfigurationError: If a URL names no model.
        EvaluationError: If the endpoint does not answer as it should.
    """
    if is_endpoint(name):
        with _open_endpoint(name, registry, api_key, price) as model:
            yield model
        return
    version = name if _is_version(name, registry) else register_base_model(registry, name).model_version
    yield NamedModel(name, registry.encoder(version), lambda: load_version(registry, version), None, None)


def load_version(registry: ModelRegistry, model_version: str) -> Encoder:
    """Encoder of a version without its cache; errors of `ModelRegistry.verified_folder`."""
    from domain_embed_pipeline.encoding.sentence_transformer import load_encoder

    return load_encoder(registry.verified_folder(model_version), registry.manifest(model_version).encoder)


@contextmanager
def _open_endpoint(name: str, registry: ModelRegistry, api_key: str, price: float | None) -> Iterator[NamedModel]:
    import httpx

    url, _, model = name.partition("#")
    if not model:
        raise ConfigurationError(
            f"{name!r} names an endpoint but no model.", fix=f"Write {url.rstrip('/')}#MODEL, the model after the #."
        )
    price = dollars_per_million_tokens(model) if price is None else price
    with httpx.Client() as client:
        settings = ApiSettings(base_url=url, model=model, dollars_per_million_tokens=price)
        api = ApiEncoder(settings, client, api_key=api_key)
        cached = CachedEncoder(api.spec, load=lambda: api, cache=registry.vector_cache(api.spec))
        yield NamedModel(model, cached, lambda: api, api, price)


def _is_version(name: str, registry: ModelRegistry) -> bool:
    return name.startswith(("base-", "model-")) and registry.has(name)
