"""Answering queries from whatever the alias points at, with the encoder that belongs to it.

What belongs here: the read side. What does not: HTTP (`service`), frameworks (`langchain`, `llama_index`).

A query resolves the alias, then asks the *collection* it found, with that collection's encoder. A swap in between can
therefore never pair the vectors of one model with the index of another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec
from domain_embed_pipeline.errors import ConfigurationError, EncoderMismatchError, ServingError
from domain_embed_pipeline.serving.metadata import CollectionMetadata, alias_targets, read_metadata
from domain_embed_pipeline.serving.querying import (
    SearchFilter,
    filter_of,
    request_of,
    run_queries,
    search_params,
)
from domain_embed_pipeline.serving.reading import ReadableStore
from domain_embed_pipeline.serving.records import SearchHit, SearchRequest
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import QdrantSettings

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter, QueryRequest, ScoredPoint

logger = logging.getLogger(__name__)

MAXIMUM_K = 1_000


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """One collection with all that is needed to query it; replaced as a whole, never in part."""

    client: QdrantClient
    metadata: CollectionMetadata
    encoder: Encoder
    sparse: SparseEncoder | None

    @property
    def collection(self) -> str:
        """Name of the collection."""
        return self.metadata.collection


class Retriever:
    """Searches what an alias points at. Threads may share it; close it, or use it in a `with`."""

    def __init__(
        self,
        settings: QdrantSettings,
        alias: str,
        load_encoder: Callable[[EncoderSpec], Encoder],
        *,
        alias_ttl_s: float = 0.0,
        load_in_background: bool = False,
        retries: RetryPolicy | None = None,
    ) -> None:
        """Nothing is opened or loaded before the first query.

        Args:
            settings: Where the vectors live.
            alias: What to query.
            load_encoder: Finds the model version that a spec names; called once per collection.
            alias_ttl_s: How long an alias is trusted without asking the store again.
            load_in_background: After a swap, answer from the old collection until the new encoder is loaded, instead
                of letting one query wait for it.
            retries: Pauses and attempts against a server.
        """
        self._alias = alias
        self._load_encoder = load_encoder
        self._ttl_s = alias_ttl_s
        self._load_in_background = load_in_background
        self._retries = retries or RetryPolicy(attempts=4, base_s=0.1, cap_s=2.0)
        self._store = ReadableStore(settings, alias, in_background=load_in_background)
        self._index: LiveIndex | None = None
        self._resolved_at = float("-inf")
        self._loading = threading.Lock()
        # Fast tokenizers fail with "Already borrowed", and stemmers keep a cache, when threads share them.
        self._encoding = threading.Lock()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection and the encoder."""
        self._store.close()
        self._index = None
        self._resolved_at = float("-inf")

    def search(self, query: str, k: int = 10, filter: SearchFilter | Filter | None = None) -> tuple[SearchHit, ...]:
        """The `k` best chunks, in the mode that the live collection was chosen for.

        Args:
            query: What the user asks.
            k: 1 to 1,000.
            filter: Payload key to its value or values (`{"source": ["a.md", "b.md"]}`), or Qdrant's own filter.

        Raises:
            ConfigurationError: If an argument is unusable.
            EncoderMismatchError: If the encoder found is not the one that the collection was built by.
            ServingError: If the alias points at nothing that can be searched.
        """
        return self.search_batch([query], k, filter)[0]

    def search_batch(
        self, queries: Sequence[str], k: int = 10, filter: SearchFilter | Filter | None = None
    ) -> tuple[tuple[SearchHit, ...], ...]:
        """`search` for several queries in one encoding pass and one request; all by the same collection."""
        return self.search_many([SearchRequest(query, k, filter) for query in queries])

    def search_many(self, requests: Sequence[SearchRequest]) -> tuple[tuple[SearchHit, ...], ...]:
        """`search_batch` where each query has a k and a filter of its own."""
        for request in requests:
            require_sound(request)
        index = self.live_index()
        try:
            return self._ask(index, requests)
        except Exception as error:
            # It may have been pruned between the look-up and the query; ask where the alias points now, once.
            if not is_missing_collection(error):
                raise
            logger.warning("Collection %s is gone; the alias is looked up again.", index.collection)
            self._resolved_at = float("-inf")
            return self._ask(self.live_index(wait=True), requests)

    def encode_queries(self, texts: Sequence[str]) -> tuple[LiveIndex, np.ndarray]:
        """Query vectors by the live encoder, shape (len(texts), dimension), and the index they belong to."""
        index = self.live_index()
        with self._encoding:
            return index, index.encoder.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> tuple[LiveIndex, np.ndarray]:
        """Passage vectors by the live encoder, shape (len(texts), dimension), and the index they belong to."""
        index = self.live_index()
        with self._encoding:
            return index, index.encoder.encode_passages(texts)

    def live_index(self, *, wait: bool = False) -> LiveIndex:
        """Collection and encoder behind the alias now.

        Args:
            wait: Load a new encoder here even when `load_in_background` is set.
        """
        index = self._index
        if index is not None and time.monotonic() - self._resolved_at < self._ttl_s:
            return index
        client, target = self._resolve()
        self._resolved_at = time.monotonic()
        if index is not None and index.collection == target and index.client is client:
            return index
        if index is None or wait:
            with self._loading:
                return self._load(client, target)
        if not self._loading.acquire(blocking=False):
            return index
        if self._load_in_background:
            threading.Thread(target=self._load_and_release, args=(client, target), daemon=True).start()
            return index
        try:
            return self._load(client, target)
        finally:
            self._loading.release()

    def _resolve(self) -> tuple[QdrantClient, str]:
        client = self._store.client()
        target = alias_targets(client, retries=self._retries).get(self._alias)
        if target is None:
            raise ServingError(
                f"The alias {self._alias} points at no collection.",
                fix="Run the pipeline until its first swap, or check the name of the alias and of the store.",
            )
        return client, target

    def _load(self, client: QdrantClient, collection: str) -> LiveIndex:
        index = self._index
        if index is not None and index.collection == collection and index.client is client:
            return index
        metadata = read_metadata(client, collection, retries=self._retries)
        if metadata is None:
            raise EncoderMismatchError(
                f"Collection {collection} does not say by which encoder it was built.",
                fix="Query it with the tool that made it, or build one with this pipeline.",
            )
        if index is not None and index.metadata.encoder == metadata.encoder:
            encoder = index.encoder
        else:
            encoder = self._load_encoder(metadata.encoder)
        if encoder.spec.fingerprint != metadata.encoder.fingerprint:
            raise EncoderMismatchError(
                f"{collection} was built by {metadata.model_version} ({metadata.encoder.fingerprint}); the encoder "
                f"found has the fingerprint {encoder.spec.fingerprint}.",
                fix="Restore the model version's files from the registry; an edited model needs its own index.",
            )
        sparse = SparseEncoder(metadata.sparse_spec) if metadata.sparse_spec is not None else None
        self._index = LiveIndex(client, metadata, encoder, sparse)
        logger.info("Alias %s: querying %s with %s", self._alias, collection, metadata.model_version)
        return self._index

    def _load_and_release(self, client: QdrantClient, collection: str) -> None:
        try:
            self._load(client, collection)
        except Exception:
            logger.exception("The encoder of %s cannot be loaded; the collection before it goes on serving", collection)
        finally:
            self._loading.release()

    def _ask(self, index: LiveIndex, requests: Sequence[SearchRequest]) -> tuple[tuple[SearchHit, ...], ...]:
        queries = self._query_requests(index, requests)
        answers = self._retries.run(
            f"search in {index.collection}", lambda: run_queries(index.client, index.collection, queries)
        )
        return tuple(tuple(_hit(point, index.metadata) for point in points) for points in answers)

    def _query_requests(self, index: LiveIndex, requests: Sequence[SearchRequest]) -> list[QueryRequest | None]:
        mode = index.metadata.mode
        texts = [request.query for request in requests]
        with self._encoding:
            dense = index.encoder.encode_queries(texts) if mode.kind != "sparse" else None
            use_sparse = index.sparse is not None and mode.kind != "dense"
            sparse = index.sparse.encode_queries(texts) if use_sparse and index.sparse is not None else None
        params = search_params(index.client, quantized=index.metadata.quantized)
        return [
            request_of(
                mode,
                request.k,
                dense=dense[row] if dense is not None else None,
                sparse=sparse[row] if sparse is not None else None,
                query_filter=filter_of(request.filter),
                params=params,
            )
            for row, request in enumerate(requests)
        ]


def is_missing_collection(error: Exception) -> bool:
    """Whether an error of the client says that the collection is not there."""
    from qdrant_client.http.exceptions import UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return error.status_code == 404
    return isinstance(error, ValueError) and "not found" in str(error)


def require_sound(request: SearchRequest) -> None:
    """Refuse a request that could not be answered, before anything is encoded.

    Raises:
        ConfigurationError: If the query is blank, k is out of bounds, or the filter is of another form.
    """
    if not 1 <= request.k <= MAXIMUM_K:
        raise ConfigurationError(f"k is {request.k}.", fix=f"Ask for 1 to {MAXIMUM_K} chunks.")
    if not request.query.strip():
        raise ConfigurationError("A query is blank.", fix="Ask with at least one word.")
    if not is_text(request.query):
        raise ConfigurationError("A query holds half a character.", fix="Send valid Unicode: tokenizers refuse this.")
    filter_of(request.filter)


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8; half a surrogate pair, as JSON lets through, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hit(point: ScoredPoint, metadata: CollectionMetadata) -> SearchHit:
    payload = point.payload or {}
    return SearchHit(
        chunk_id=payload["chunk_id"],
        score=point.score,
        text=payload["text"],
        title=payload["title"],
        source=payload["source"],
        document_ids=tuple(payload["document_ids"]),
        external_ids=tuple(payload["external_ids"]),
        collection=metadata.collection,
        model_version=metadata.model_version,
    )
