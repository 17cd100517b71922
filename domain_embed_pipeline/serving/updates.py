"""Changing a collection that serves: fresh documents, catch-up around a swap.

What belongs here: making a collection hold exactly a corpus, with the encoder it was built by. What does not: new
models, new collections (`collection`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.expansion import encode_chunks
from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.errors import EncoderMismatchError, ServingError
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.records import Chunk, Corpus
from domain_embed_pipeline.sequences import batches
from domain_embed_pipeline.serving.contents import (
    delete_points,
    points_of,
    rewrite_payloads,
    stored_digests,
    stored_ids,
    upload,
)
from domain_embed_pipeline.serving.metadata import CollectionMetadata, read_metadata, write_metadata
from domain_embed_pipeline.serving.payload import DIGEST_KEY, payload_of
from domain_embed_pipeline.serving.records import Reconciliation
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, persist

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

BATCH_SIZE = 128
PARALLEL_UPLOADS = 2


def reconcile_collection(
    client: QdrantClient,
    collection: str,
    corpus: Corpus,
    *,
    encoder: Encoder,
    most_deleted_share: float = 1.0,
    retries: RetryPolicy | None = None,
) -> Reconciliation:
    """Make a collection, live or not, hold exactly this corpus: encode and add, rewrite payloads, delete.

    Only chunks that are not there are encoded. Adds come first and deletions last, so that an edited passage is
    findable throughout. Running it again changes nothing.

    Args:
        client: Open store.
        collection: A collection of ours, or the alias of one.
        corpus: Everything as it is now; its version is noted in the metadata.
        encoder: The one that the collection was built by.
        most_deleted_share: Refuse, before anything is written, when more than this share of the points would go.
        retries: Pauses and attempts against a server.

    Raises:
        EncoderMismatchError: If the encoder is another than the collection's.
        ServingError: If the corpus is empty (that would empty the index), too much would be deleted, or somebody else
            wrote meanwhile.
    """
    started = time.monotonic()
    retries = retries or RetryPolicy()
    metadata = _require_ours(client, collection, encoder, retries)
    name = metadata.collection
    _require_chunks(name, corpus)
    stored = stored_digests(client, name, retries=retries)
    changes = _changes(corpus.chunks, stored, metadata)
    _require_most_kept(name, len(changes.surplus), len(stored), most_deleted_share)
    missing = _encoded_batches(changes.missing, encoder, metadata)
    added = upload(client, name, points=missing, parallel=PARALLEL_UPLOADS, retries=retries)
    rewrite_payloads(client, name, chunks=changes.rewritten, frameworks=metadata.frameworks, retries=retries)
    deleted = delete_points(client, name, point_ids=changes.surplus, retries=retries)
    _require_exact(client, name, changes.wanted, retries)
    noted = {"content_version": corpus.corpus_version, "point_count": len(changes.wanted)}
    write_metadata(client, name, noted, retries=retries)
    if is_embedded(client):
        persist(client, name)
    logger.info("%s: %d added, %d updated, %d deleted", name, added, len(changes.rewritten), deleted)
    return Reconciliation(
        collection=name,
        corpus_version=corpus.corpus_version,
        added=added,
        updated=len(changes.rewritten),
        deleted=deleted,
        unchanged=len(changes.wanted) - added - len(changes.rewritten),
        point_count=len(changes.wanted),
        duration_s=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class _Changes:
    """What has to happen to a collection so that it holds a corpus."""

    wanted: frozenset[str]
    """Point ids of all chunks."""
    missing: list[Chunk]
    rewritten: list[Chunk]
    """Chunks whose vector stays and whose payload is another."""
    surplus: list[str]
    """Point ids that belong to no chunk."""


def _changes(chunks: Sequence[Chunk], stored: Mapping[str, str], metadata: CollectionMetadata) -> _Changes:
    wanted = {point_id_of(chunk.chunk_id): chunk for chunk in chunks}
    return _Changes(
        wanted=frozenset(wanted),
        missing=[chunk for point, chunk in wanted.items() if point not in stored],
        rewritten=[
            chunk
            for point, chunk in wanted.items()
            if point in stored and stored[point] != payload_of(chunk, metadata.frameworks)[DIGEST_KEY]
        ],
        surplus=sorted(stored.keys() - wanted.keys()),
    )


def _require_ours(client: QdrantClient, collection: str, encoder: Encoder, retries: RetryPolicy) -> CollectionMetadata:
    metadata = read_metadata(client, collection, retries=retries)
    if metadata is None:
        raise ServingError(
            f"Collection {collection} was not made by this pipeline.",
            fix="Build one beside it; only our own collections are ever changed.",
        )
    if metadata.encoder.fingerprint != encoder.spec.fingerprint:
        raise EncoderMismatchError(
            f"{metadata.collection} holds vectors of {metadata.encoder.model_version} "
            f"({metadata.encoder.fingerprint}); the encoder at hand is {encoder.spec.model_version} "
            f"({encoder.spec.fingerprint}).",
            fix="Load the model version that the collection names.",
        )
    return metadata


def _require_chunks(name: str, corpus: Corpus) -> None:
    if not corpus.chunks:
        raise ServingError(
            f"The corpus {corpus.corpus_version} is empty; {name} keeps its points.",
            fix="Check where documents are read from. To take the index down, delete the alias by hand.",
        )


def _require_most_kept(name: str, surplus: int, stored: int, most_deleted_share: float) -> None:
    if surplus > most_deleted_share * stored:
        raise ServingError(
            f"{surplus} of {stored} points of {name} belong to no document any more; at most a share of "
            f"{most_deleted_share:g} is deleted at once.",
            fix="Check that all documents can be read where they should lie. If so many were removed on purpose, run "
            "index_new_documents_job with most_deleted_share=1.",
        )


def _encoded_batches(chunks: Sequence[Chunk], encoder: Encoder, metadata: CollectionMetadata) -> Iterator[list[Any]]:
    sparse = SparseEncoder(metadata.sparse_spec) if metadata.sparse_spec is not None else None
    for batch in batches(chunks, BATCH_SIZE):
        vectors = encode_chunks(encoder, batch)
        yield points_of(batch, vectors, sparse=sparse, frameworks=metadata.frameworks)


def _require_exact(client: QdrantClient, name: str, wanted: Set[str], retries: RetryPolicy) -> None:
    stored = stored_ids(client, name, retries=retries)
    if stored != wanted:
        raise ServingError(
            f"{name} has {len(stored - wanted)} points too many and lacks {len(wanted - stored)} after a catch-up.",
            fix="Somebody else writes to it at the same time; let only one run at a time, then run again.",
        )
