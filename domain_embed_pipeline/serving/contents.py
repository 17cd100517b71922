"""What a collection holds, and writing into it.

What belongs here: listing points, uploading, deleting, all in bounded batches with back-off. What does not: deciding
what should be there (`collection` for a build, `updates` for a catch-up).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.errors import ServingError
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.sequences import batches, map_in_threads
from domain_embed_pipeline.serving.payload import DENSE_VECTOR, DIGEST_KEY, SPARSE_VECTOR, Framework, payload_of
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter, PointStruct, Record

SCROLL_PAGE = 2_000
_EMBEDDED_PAGE = 1_000_000
DELETE_BATCH = 1_000
PAYLOAD_BATCH = 128


def stored_digests(client: QdrantClient, collection: str, *, retries: RetryPolicy) -> dict[str, str]:
    """`point id -> payload digest` of every point; the digest is empty for a point that we did not write."""
    records = scroll_all(client, collection, keys=[DIGEST_KEY], retries=retries)
    return {str(record.id): (record.payload or {}).get(DIGEST_KEY, "") for record in records}


def stored_ids(client: QdrantClient, collection: str, *, retries: RetryPolicy) -> set[str]:
    """Id of every point."""
    return {str(record.id) for record in scroll_all(client, collection, keys=False, retries=retries)}


def documents_in(client: QdrantClient, collection: str, *, retries: RetryPolicy | None = None) -> dict[str, int]:
    """`document id -> chunks of it` in a collection; a chunk of two documents counts for both."""
    counts: Counter[str] = Counter()
    for record in scroll_all(client, collection, keys=["document_ids"], retries=retries or RetryPolicy()):
        counts.update((record.payload or {}).get("document_ids", ()))
    return dict(counts)


def scroll_all(
    client: QdrantClient,
    collection: str,
    *,
    keys: Sequence[str] | bool,
    retries: RetryPolicy,
    only: Filter | None = None,
) -> Iterator[Record]:
    """Every point without its vectors, page by page.

    Args:
        client: Open store.
        collection: Name or alias.
        keys: Payload keys to read; all of them, or none.
        retries: Pauses and attempts against a server.
        only: Points that match.
    """
    # An embedded store sorts all its ids for every page, and has no message to keep small.
    limit = _EMBEDDED_PAGE if is_embedded(client) else SCROLL_PAGE
    payload = keys if isinstance(keys, bool) else list(keys)
    offset: Any = None
    while True:
        records, offset = retries.run(
            f"list of points of {collection}",
            lambda offset=offset: client.scroll(
                collection, scroll_filter=only, limit=limit, offset=offset, with_payload=payload, with_vectors=False
            ),
        )
        yield from records
        if offset is None:
            return


def vectors_of(record: Record) -> dict[str, Any]:
    """Named vectors of a point that was read with them."""
    if not isinstance(record.vector, dict):
        raise ServingError(f"Point {record.id} has no named vectors.", fix="Build the collection again.")
    return record.vector


def points_of(
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    *,
    sparse: SparseEncoder | None,
    frameworks: tuple[Framework, ...],
) -> list[PointStruct]:
    """Points of chunks; `vectors` has shape (len(chunks), dimension).

    A text without any BM25 term gets no sparse vector.
    """
    from qdrant_client import models

    weights = sparse.encode_passages([chunk.expanded_text for chunk in chunks]) if sparse else [None] * len(chunks)
    points = []
    for chunk, vector, weight in zip(chunks, vectors, weights, strict=True):
        named: dict[str, Any] = {DENSE_VECTOR: vector.tolist()}
        if weight is not None and weight.indices:
            named[SPARSE_VECTOR] = models.SparseVector(indices=list(weight.indices), values=list(weight.values))
        points.append(
            models.PointStruct(id=point_id_of(chunk.chunk_id), vector=named, payload=payload_of(chunk, frameworks))
        )
    return points


def upload(
    client: QdrantClient,
    collection: str,
    *,
    points: Iterable[list[PointStruct]],
    parallel: int,
    retries: RetryPolicy,
) -> int:
    """Upsert batches of points, a bounded number of requests at a time; returns the number of points.

    Batches are taken from the iterator as requests end, so memory stays flat. An embedded store gets one at a time.
    """

    def send(batch: list[PointStruct]) -> int:
        """Write one batch and wait for it; how many points it had."""
        retries.run(
            f"upload of {len(batch)} points to {collection}",
            lambda: client.upsert(collection_name=collection, points=batch, wait=True),
        )
        return len(batch)

    if is_embedded(client) or parallel == 1:
        return sum(send(batch) for batch in points)
    return sum(map_in_threads(send, points, parallel, name="qdrant-upload"))


def delete_points(client: QdrantClient, collection: str, *, point_ids: Iterable[str], retries: RetryPolicy) -> int:
    """Delete points by id; ids that are not there do no harm. Returns how many were asked for."""
    from qdrant_client import models

    deleted = 0
    for batch in batches(point_ids, DELETE_BATCH):
        selector = models.PointIdsList(points=list(batch))
        retries.run(
            f"deletion from {collection}",
            lambda selector=selector: client.delete(collection, points_selector=selector, wait=True),
        )
        deleted += len(batch)
    return deleted


def rewrite_payloads(
    client: QdrantClient,
    collection: str,
    *,
    chunks: Iterable[Chunk],
    frameworks: tuple[Framework, ...],
    retries: RetryPolicy,
) -> None:
    """Replace the payloads of chunks that are there; their vectors stay."""
    from qdrant_client import models

    for batch in batches(chunks, PAYLOAD_BATCH):
        operations = [
            models.OverwritePayloadOperation(
                overwrite_payload=models.SetPayload(
                    payload=payload_of(chunk, frameworks), points=[point_id_of(chunk.chunk_id)]
                )
            )
            for chunk in batch
        ]
        retries.run(
            f"payloads of {collection}",
            lambda operations=operations: client.batch_update_points(
                collection, update_operations=operations, wait=True
            ),
        )


def point_count(client: QdrantClient, collection: str, *, retries: RetryPolicy) -> int:
    """Exact number of points."""
    return retries.run(f"count of {collection}", lambda: client.count(collection, exact=True).count)
