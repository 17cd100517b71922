"""Releasing a judged candidate: build its collection, verify it, move the alias, write it down, prune.

What belongs here: the order of these steps. What does not: each step, which has a module of its own.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.expansion import encode_chunks, expansion_version, without_questions
from domain_embed_pipeline.encoding.sparse import fit_sparse_spec
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.records import Evaluation
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.registry.lineage import LineageKind, LineageLog
from domain_embed_pipeline.serving.alias import current_target, prune, swap_alias
from domain_embed_pipeline.serving.collection import build_collection
from domain_embed_pipeline.serving.metadata import read_metadata
from domain_embed_pipeline.serving.records import (
    AliasSwap,
    BuildSettings,
    CollectionPlan,
    PromotionDecision,
    ServingCollection,
)
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.verification import verify_collection
from domain_embed_pipeline.serving.verification_inputs import VerificationInputs

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


def build_verified_collection(
    client: QdrantClient,
    alias: str,
    *,
    corpus: Corpus,
    evaluation: Evaluation,
    encoder: Encoder,
    settings: BuildSettings | None = None,
) -> ServingCollection:
    """Build the collection of a candidate in the mode it was judged in, and verify it against its evaluation.

    Raises:
        VerificationError: If the collection is not what was planned, or does not give the evaluation's Recall@k.
    """
    chunks = corpus.chunks if evaluation.mode.expanded else without_questions(corpus.chunks)
    plan = CollectionPlan(
        alias=alias,
        encoder=encoder.spec,
        corpus_version=corpus.corpus_version,
        mode=evaluation.mode,
        sparse_spec=evaluation.sparse or fit_sparse_spec(chunk.expanded_text for chunk in chunks),
        expansion_version=expansion_version(chunks),
        settings=settings or BuildSettings(),
        chunking=corpus.settings,
    )
    vectors = encode_chunks(encoder, chunks)
    built = build_collection(client, plan, chunks=chunks, vectors=vectors)
    live = current_target(client, alias)
    if built.collection == live and _was_caught_up(client, built.collection, corpus):
        logger.info("%s is live and holds newer documents than this run; it stays as it is.", live)
        return built
    inputs = VerificationInputs(
        plan=plan,
        chunks=chunks,
        vectors=vectors,
        encoder=encoder,
        golden=evaluation.served_query_results,
        live_collection=live,
    )
    return verify_collection(client, built, inputs=inputs)


def _was_caught_up(client: QdrantClient, collection: str, corpus: Corpus) -> bool:
    metadata = read_metadata(client, collection, retries=RetryPolicy())
    return metadata is not None and metadata.content_version not in (None, corpus.corpus_version)


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseSettings:
    """Where a release is guarded and written down, and what it leaves."""

    lineage: LineageLog
    """Where the move is recorded."""
    lock_folder: Path
    """Where the alias lock lies."""
    keep_previous: int = 2
    """Earlier collections to keep for rollback."""


def release_collection(
    client: QdrantClient,
    collection: ServingCollection,
    *,
    decision: PromotionDecision,
    expected_current: str | None,
    settings: ReleaseSettings,
) -> AliasSwap:
    """Move the alias to a verified collection, record it for ever, and prune what is older than needed.

    Args:
        client: Open store.
        collection: Verified, and of the candidate that was judged.
        decision: Why it may go live.
        expected_current: What the alias pointed at when the candidate was compared with it.
        settings: Lock, log and what is kept.

    Raises:
        AliasConflictError: If somebody moved the alias since.
    """
    swap = swap_alias(
        client,
        collection.alias,
        collection.collection,
        expected_current=expected_current,
        lock_folder=settings.lock_folder,
    )
    if not _is_recorded(swap, settings.lineage):
        settings.lineage.record(
            _kind_of(decision),
            alias=swap.alias,
            model_version=swap.model_version,
            collection=swap.collection,
            previous_collection=swap.previous_collection,
            reason=decision.override_reason or decision.reason,
        )
    prune(client, collection.alias, settings.keep_previous, lock_folder=settings.lock_folder)
    return dataclasses.replace(swap, reason=f"{swap.reason}; {decision.reason}")


def _is_recorded(swap: AliasSwap, lineage: LineageLog) -> bool:
    """Whether the log ends with where the alias points; a run may have been killed right after its move."""
    events = lineage.events(swap.alias)
    return not swap.swapped and bool(events) and events[-1].collection == swap.collection


def _kind_of(decision: PromotionDecision) -> LineageKind:
    if decision.verdict == "unchanged":
        return "reindex"
    return "override" if decision.overridden else "promotion"
