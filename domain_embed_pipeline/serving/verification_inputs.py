"""What the checks of a collection are given: the collection, what it is compared with, and how hard to look.

What belongs here: arguments that several checks take. What does not: the checks (`checks`), their results (`records`),
which are run (`verification`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.records import QueryResult
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.records import CollectionPlan
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient


@dataclass(frozen=True, slots=True)
class Subject:
    """The collection under check."""

    client: QdrantClient
    collection: str
    retries: RetryPolicy

    @property
    def embedded(self) -> bool:
        """Whether the store is exact, unindexed and always green."""
        return is_embedded(self.client)

    def info(self) -> Any:
        """Qdrant's description of the collection."""
        return self.retries.run(f"state of {self.collection}", lambda: self.client.get_collection(self.collection))


@dataclass(frozen=True, slots=True)
class VerificationInputs:
    """What the collection is compared with."""

    plan: CollectionPlan
    chunks: Sequence[Chunk]
    vectors: np.ndarray
    """As handed to `build_collection`, shape (len(chunks), dimension)."""
    encoder: Encoder | None = None
    """Encodes the golden queries; needed when there are any."""
    golden: Sequence[QueryResult] = ()
    """`Evaluation.served_query_results` of the same model, mode and corpus."""
    live_collection: str | None = None
    """What serves now; its latency is the yardstick."""


@dataclass(frozen=True, slots=True)
class VerificationSettings:
    """How hard to look. Lower bounds let a worse index through."""

    vector_sample: int = 200
    """Stored vectors that are read back and compared."""
    recall_queries: int = 100
    minimum_index_recall: float = 0.95
    """Of the approximate index against exact search, at 10."""
    golden_queries: int = 500
    """At most so many queries of the evaluation are asked again."""
    golden_queries_embedded: int = 50
    """The same in an embedded store, where a query with BM25 takes 60 ms for every 1,000 chunks."""
    golden_tolerance: float = 0.01
    """Largest accepted difference between Recall@10 here and offline; one query's worth is always accepted."""
    latency_ratio: float = 2.0
    """p95 of the new collection over that of the live one, and over the growth of the corpus where it grew."""
    latency_floor_ms: float = 50.0
    """No p95 below this is held against the collection: ratios of small times are noise."""
    latency_queries: int = 50
    green_timeout_s: float = 3_600.0
    """How long the server may take to index."""
    green_poll_s: float = 1.0
    stable_greens: int = 3
    """Greens in a row: the status can be green before the first optimisation is scheduled."""
    seed: int = 0
    sleep: Callable[[float], None] = time.sleep
