"""Chunks of a Qdrant collection that a team has already, read from its payload as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from domain_embed_pipeline.corpus.readers.ready_chunks import Row, ready_chunk
from domain_embed_pipeline.errors import CorpusSourceError, UnreadableDocumentError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SCHEME = "qdrant://"
_PAGE = 256


@dataclass(frozen=True, slots=True)
class ExistingIndex:
    """A collection and the payload fields to read; dots reach into nested fields (`metadata.source`)."""

    collection: str
    text: str = "text"
    title: str = "title"
    source: str = "source"
    id: str = ""
    """Field that holds the chunk's own id; without it the point id is taken."""


def parse_location(location: str) -> ExistingIndex:
    """`qdrant://COLLECTION?text=FIELD&title=FIELD&source=FIELD&id=FIELD`; the fields default to their own names.

    Raises:
        CorpusSourceError: If there is no collection, or a parameter is unknown.
    """
    parts = urlsplit(location)
    fields = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = sorted(fields.keys() - {"text", "title", "source", "id"})
    if not parts.netloc or unknown:
        raise CorpusSourceError(
            f"{location!r} names {'no collection' if not parts.netloc else f'unknown parameters {unknown}'}.",
            fix="Write qdrant://COLLECTION?text=FIELD&title=FIELD&source=FIELD&id=FIELD.",
        )
    return ExistingIndex(unquote(parts.netloc), **fields)


def read_index(client: QdrantClient, index: ExistingIndex) -> Iterator[Row]:
    """Its points as ready chunks, in the order of their ids.

    Raises:
        CorpusSourceError: If the store has no such collection.
    """
    if not client.collection_exists(index.collection):
        known = ", ".join(sorted(each.name for each in client.get_collections().collections)) or "none"
        raise CorpusSourceError(
            f"There is no collection {index.collection!r} to read chunks from; the store has: {known}.",
            fix="Check its name in DOMAIN_EMBED_CORPUS_PATH and the store in DOMAIN_EMBED_QDRANT_URL.",
        )
    fields = {"text": index.text, "title": index.title, "source": index.source, "_id": index.id}
    offset, number = None, 0
    while True:
        points, offset = client.scroll(index.collection, limit=_PAGE, offset=offset, with_payload=True)
        for point in points:
            number += 1
            row = {name: _field(point.payload or {}, path) for name, path in fields.items()}
            chunk = ready_chunk({**row, "_id": row["_id"] if index.id else point.id})
            if isinstance(chunk, UnreadableDocumentError):
                chunk = UnreadableDocumentError(chunk.reason, f"point {point.id}: {chunk.detail}")
            yield number, chunk
        if offset is None:
            return


def _field(payload: dict[str, Any], path: str) -> Any:
    """Value at a dotted path; a field whose own name holds the dots comes first."""
    if path in payload:
        return payload[path]
    value: Any = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
