"""Whether a new collection is what was planned, asked before anybody queries it.

What belongs here: which checks are run on one collection, and what follows. What does not: the checks (`checks`), what
they are given (`verification_inputs`), whether its model is better (`evaluation`).

Every check runs even after one failed, so that one error names all that is wrong. Only a full pass marks the
collection as verified, and the alias moves to nothing else.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import DomainEmbedError, VerificationError
from domain_embed_pipeline.serving import checks
from domain_embed_pipeline.serving.contents import point_count
from domain_embed_pipeline.serving.metadata import write_metadata
from domain_embed_pipeline.serving.records import CheckResult, ServingCollection, VerificationReport
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, persist
from domain_embed_pipeline.serving.verification_inputs import Subject, VerificationInputs, VerificationSettings

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


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
    subject = Subject(client=client, collection=collection, retries=retries)
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
