"""Whether a new collection is what was planned, asked before anybody queries it.

What belongs here: checks of one collection against its plan, its chunks and the offline evaluation. What does not:
whether its model is better (`evaluation`).

Every check runs even after one failed, so that one error names all that is wrong. Only a full pass marks the
collection as verified, and the alias moves to nothing else.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.errors import DomainEmbedError, VerificationError
from domain_embed_pipeline.evaluation.records import QueryResult
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving import checks
from domain_embed_pipeline.serving.contents import point_count
from domain_embed_pipeline.serving.metadata import write_metadata
from domain_embed_pipeline.serving.records import CheckResult, CollectionPlan, ServingCollection, VerificationReport
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, persist

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


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


def verify_collection(
    client: QdrantClient,
    built: ServingCollection,
    *,
    inputs: VerificationInputs,
    settings: VerificationSettings | None = None,
    retries: RetryPolicy | None = None,
) -> ServingCollection:
    """Run every check and mark the collection as verified.

    Returns:
        `built` with the results of the checks and `verified` set.

    Raises:
        VerificationError: If any check failed; the message lists all that did.
    """
    retries = retries or RetryPolicy()
    report = inspect_collection(
        client, built.collection, inputs=inputs, settings=settings or VerificationSettings(), retries=retries
    )
    if not report.passed:
        listed = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
        raise VerificationError(
            f"Collection {built.collection} failed {len(report.failures)} of {len(report.checks)} checks: {listed}",
            fix="The alias was not moved. Run the build again (it completes what is missing), or look at the named "
            "check; delete the collection if it was changed by hand.",
        )
    changes = {"state": "verified", "point_count": report.point_count}
    write_metadata(client, built.collection, changes, retries=retries)
    if is_embedded(client):
        persist(client, built.collection)
    return dataclasses.replace(built, verified=True, checks=report.checks, point_count=report.point_count)


def inspect_collection(
    client: QdrantClient,
    collection: str,
    *,
    inputs: VerificationInputs,
    settings: VerificationSettings,
    retries: RetryPolicy,
) -> VerificationReport:
    """Run every check and change nothing.

    Raises:
        StoreUnavailableError: If the server stops answering; that says nothing about the collection.
    """
    started = time.monotonic()
    subject = checks.Subject(client=client, collection=collection, retries=retries)
    planned: list[tuple[str, Callable[[], CheckResult]]] = [
        ("configuration", lambda: checks.configuration(subject, inputs.plan)),
        ("metadata", lambda: checks.metadata(subject, inputs.plan)),
        ("id_set", lambda: checks.id_set(subject, inputs.chunks, inputs.plan)),
        ("status", lambda: checks.status(subject, settings)),
        ("stored_vectors", lambda: checks.stored_vectors(subject, inputs.chunks, inputs.vectors, settings=settings)),
        ("index_recall", lambda: checks.index_recall(subject, inputs, settings=settings)),
        ("golden_queries", lambda: checks.golden_queries(subject, inputs, settings=settings)),
        ("latency", lambda: checks.latency(subject, inputs, settings=settings)),
    ]
    results = []
    for name, check in planned:
        result = _run(name, check)
        logger.info("Check %s of %s: %s (%s)", name, collection, "pass" if result.passed else "FAIL", result.detail)
        results.append(result)
    return VerificationReport(
        collection=collection,
        passed=all(result.passed for result in results),
        point_count=point_count(client, collection, retries=retries),
        checks=tuple(results),
        duration_s=time.monotonic() - started,
    )


def _run(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """A refusal by the store is a failed check; a server that went away, or a bug of ours, is an error."""
    from qdrant_client.http.exceptions import UnexpectedResponse

    try:
        return check()
    except VerificationError as error:
        return CheckResult(name, passed=False, vacuous=False, detail=str(error))
    except DomainEmbedError:
        raise
    except UnexpectedResponse as error:
        return CheckResult(name, passed=False, vacuous=False, detail=f"the server refused: {error}")
