"""Taking one document out of every collection of an alias, the kept old ones too: a rollback must not bring it back.

What belongs here: points of one document. What does not: tables, ledger and vectors (`forgetting`), making a collection
hold a corpus (`updates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.contents import delete_points, point_count, rewrite_payloads, scroll_all
from domain_embed_pipeline.serving.metadata import collections_of, write_metadata
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, persist

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


@dataclass(frozen=True, slots=True)
class ErasedPoints:
    """What left the collections."""

    by_collection: dict[str, int]
    """Points that are gone, by collection."""
    shared: int
    """Points that stayed, since another document holds the same passage; they no longer name the erased one."""
    chunks: tuple[Chunk, ...]
    """The chunks that are gone, with their texts, so that what is filed under them can be erased too."""


def erase_document(
    client: QdrantClient, alias: str, document_id: str, *, retries: RetryPolicy | None = None
) -> ErasedPoints:
    """Delete a document's points; those that it shares with other documents lose its name only.

    Each collection is asked for the document itself, so that passages of an older edition of it go too. Running it
    again changes nothing.
    """
    retries = retries or RetryPolicy()
    gone: dict[str, Chunk] = {}
    counts: dict[str, int] = {}
    shared = 0
    for metadata in collections_of(client, alias, retries=retries):
        name = metadata.collection
        held = [_chunk_of(payload) for payload in _payloads_of(client, name, document_id, retries)]
        alone = [chunk for chunk in held if chunk.document_ids == (document_id,)]
        rest = [_without(chunk, document_id) for chunk in held if chunk.document_ids != (document_id,)]
        delete_points(client, name, point_ids=[point_id_of(chunk.chunk_id) for chunk in alone], retries=retries)
        rewrite_payloads(client, metadata.collection, chunks=rest, frameworks=metadata.frameworks, retries=retries)
        if alone:
            left = point_count(client, name, retries=retries)
            write_metadata(client, name, {"point_count": left}, retries=retries)
        if is_embedded(client):
            persist(client, name)
        counts[name] = len(alone)
        shared += len(rest)
        gone.update((chunk.chunk_id, chunk) for chunk in alone)
    return ErasedPoints(counts, shared, tuple(gone.values()))


def _payloads_of(
    client: QdrantClient, collection: str, document_id: str, retries: RetryPolicy
) -> Iterable[dict[str, Any]]:
    from qdrant_client import models

    condition = models.FieldCondition(key="document_ids", match=models.MatchValue(value=document_id))
    only = models.Filter(must=[condition])
    return [record.payload or {} for record in scroll_all(client, collection, keys=True, only=only, retries=retries)]


def _chunk_of(payload: dict[str, Any]) -> Chunk:
    """The chunk as far as its payload tells."""
    return Chunk(
        chunk_id=payload["chunk_id"],
        text=payload["text"],
        title=payload["title"],
        document_ids=tuple(payload["document_ids"]),
        external_ids=tuple(payload["external_ids"]),
        position=0,
        token_count=0,
    )


def _without(chunk: Chunk, document_id: str) -> Chunk:
    rest = tuple(name for name in chunk.document_ids if name != document_id)
    return Chunk(chunk.chunk_id, chunk.text, chunk.title, rest, chunk.external_ids, 0, 0)
