"""A release that loses nothing: what came, changed and went while a collection was being built is brought into it.

What belongs here: the catch-up before and after the move of the alias. What does not: the move itself
(`serving.release`).

A build starts from the documents as they were hours ago. Meanwhile `index_new_documents_job` kept the *live*
collection up to date, so that a plain swap would undo its work and bring deleted documents back. Both catch-ups go by
the documents themselves and compare sets of ids. The first leaves little to do when readers are sent over; the second,
after the move, takes what changed during the first: from then on only the new collection is written to.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain_embed_pipeline.drops.indexing import CurrentDocuments
from domain_embed_pipeline.drops.novelty import keep_judged_corpus
from domain_embed_pipeline.serving.metadata import CollectionMetadata, read_metadata
from domain_embed_pipeline.serving.records import AliasSwap, PromotionDecision, Reconciliation, ServingCollection
from domain_embed_pipeline.serving.release import ReleaseSettings, release_collection
from domain_embed_pipeline.serving.retention import prune_models
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.updates import reconcile_collection
from domain_embed_pipeline.workspace import Workspace

MOST_DELETED_SHARE = 0.5
"""A catch-up that would delete more is refused: an empty mount looks like deleted documents."""


@dataclass(frozen=True, slots=True)
class CaughtUpRelease:
    """The move of the alias, and what was brought into the new collection around it."""

    swap: AliasSwap
    before: Reconciliation | None
    """None when no document had changed."""
    after: Reconciliation | None

    @property
    def added(self) -> int:
        """Chunks that came during the build."""
        return sum(each.added for each in (self.before, self.after) if each is not None)

    @property
    def changed(self) -> int:
        """Chunks whose documents or titles changed during the build."""
        return sum(each.updated for each in (self.before, self.after) if each is not None)

    @property
    def deleted(self) -> int:
        """Chunks that went during the build."""
        return sum(each.deleted for each in (self.before, self.after) if each is not None)


def release_caught_up(
    workspace: Workspace,
    collection: ServingCollection,
    *,
    decision: PromotionDecision,
    expected_current: str | None,
    keep_previous: int,
) -> CaughtUpRelease:
    """Bring a verified collection up to the documents as they are now, move the alias to it, and catch up again.

    Args:
        workspace: The deployment.
        collection: Verified, and of the candidate that was judged.
        decision: Why it may go live.
        expected_current: What the alias pointed at when the candidate was compared with it.
        keep_previous: Earlier collections to keep for rollback, and earlier trainings whose models stay.

    Raises:
        AliasConflictError: If somebody moved the alias since.
        CorpusError: If the documents cannot be read; before the move, which then does not happen, or after it.
        ServingError: If more than half of the collection would be deleted.
    """
    keep_judged_corpus(workspace)
    documents = CurrentDocuments(workspace, _metadata(workspace, collection.collection).chunking)
    before = catch_up(workspace, collection.collection, documents)
    settings = ReleaseSettings(workspace.lineage, workspace.locks, keep_previous)
    with workspace.open_store() as store:
        swap = release_collection(
            store, collection, decision=decision, expected_current=expected_current, settings=settings
        )
        prune_models(store, workspace.registry, keep=keep_previous)
    after = catch_up(workspace, swap.collection, documents)
    documents.note_indexed(swap.collection)
    return CaughtUpRelease(swap, before, after)


def catch_up(workspace: Workspace, collection: str, documents: CurrentDocuments) -> Reconciliation | None:
    """Make a collection hold exactly the documents as they are now, by its own model; None when it does already."""
    corpus = documents.read()
    metadata = _metadata(workspace, collection)
    if corpus.corpus_version == (metadata.content_version or metadata.corpus_version):
        return None
    encoder = workspace.registry.encoder(metadata.model_version)
    with workspace.open_store() as store:
        return reconcile_collection(
            store,
            collection,
            corpus,
            encoder=encoder,
            most_deleted_share=MOST_DELETED_SHARE,
        )


def _metadata(workspace: Workspace, collection: str) -> CollectionMetadata:
    with workspace.open_store() as store:
        metadata = read_metadata(store, collection, retries=RetryPolicy())
    assert metadata is not None, collection
    return metadata
