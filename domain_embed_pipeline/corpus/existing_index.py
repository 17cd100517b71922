"""Chunks of a Qdrant collection that a team has already, read from its payload as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from domain_embed_pipeline.corpus.readers.ready_chunks import Row, ready_chunk
from domain_embed_pipeline.errors import CorpusSourceError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SCHEME = "qdrant://"
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class ExistingIndex:
    """A collection and the payload fields that hold text, title and source; dots reach into nested fields."""

    collection: str
    text: str = "text"
    title: str = "title"
    source: str = "source"


def parse_location(location: str) -> ExistingIndex:
    """`qdrant://COLLECTION?text=FIELD&title=FIELD&source=FIELD`.

    Raises:
        CorpusSourceError: If there is no collection, or a parameter is unknown.
    """
    parts = urlsplit(location)
    fields = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = sorted(fields.keys() - {"text", "title", "source"})
    if not parts.netloc or unknown:
        raise CorpusSourceError(
            f"{location!r} names {'no collection' if not parts.netloc else f'unknown parameters {unknown}'}.",
            fix="Write qdrant://COLLECTION?text=FIELD&title=FIELD&source=FIELD.",
        )
    return ExistingIndex(parts.netloc, **fields)


def read_index(client: QdrantClient, index: ExistingIndex) -> Iterator[Row]:
    """Its points as ready chunks; the point id becomes the external id."""
    if not client.collection_exists(index.collection):
        raise CorpusSourceError(
            f"There is no collection {index.collection!r} to read chunks from.",
            fix="Check its name in DOMAIN_EMBED_CORPUS_PATH and the store in DOMAIN_EMBED_QDRANT_URL.",
        )
    offset, number = None, 0
    while True:
        points, offset = client.scroll(index.collection, limit=_PAGE, offset=offset, with_payload=True)
        for point in points:
            number += 1
            payload = point.payload or {}
            fields = {name: _field(payload, getattr(index, name)) for name in ("text", "title", "source")}
            yield number, ready_chunk(fields | {"_id": str(point.id)})
        if offset is None:
            return


def _field(payload: dict[str, Any], path: str) -> Any:
    value: Any = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
