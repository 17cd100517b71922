"""Fresh documents without retraining: the live collection is made to hold the documents as they are now.

What belongs here: which documents, cut how, go into which collection by which model. What does not: writing points
(`serving.updates`), when to do it (`watching`).

Documents are cut as those were that the live collection was built from, whatever today's settings say: other chunks
would all be new. The table of `corpus_chunks` is neither read nor written, since a training that runs meanwhile goes by
it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.corpus.changes import CorpusChanges, compare_corpora
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.drops.indexed import IndexedState
from domain_embed_pipeline.drops.listing import SeenFile, content_digest, has_collections, list_corpus, read_contents
from domain_embed_pipeline.drops.watching import indexed_store, watch_store
from domain_embed_pipeline.errors import AliasConflictError
from domain_embed_pipeline.records import Chunk, Corpus, Document
from domain_embed_pipeline.serving.alias import current_target
from domain_embed_pipeline.serving.live import live_collection
from domain_embed_pipeline.serving.metadata import CollectionMetadata
from domain_embed_pipeline.serving.records import Reconciliation
from domain_embed_pipeline.serving.updates import reconcile_collection
from domain_embed_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedDocuments:
    """What the live collection holds now, and what it took to bring it there."""

    alias: str
    reason: str
    """What was done, or why nothing was."""
    reconciliation: Reconciliation | None
    """None when nothing is live."""
    model_version: str | None
    added_documents: tuple[str, ...]
    changed_documents: tuple[str, ...]
    deleted_documents: tuple[str, ...]
    quarantine_count: int
    duration_s: float
    documents: tuple[Document, ...]
    chunks: Sequence[Chunk]


class CurrentDocuments:
    """Reads the documents as they are now, and again only when a file has changed since.

    Args:
        workspace: The deployment.
        chunking: How to cut them (`CollectionMetadata.chunking`); as the last materialization was when it is empty.
    """

    def __init__(self, workspace: Workspace, chunking: Mapping[str, Any]) -> None:
        self._workspace = workspace
        self._settings = CorpusSettings.from_record(chunking) if chunking else None
        self._tokenizer = chunking.get("tokenizer")
        self._seen: tuple[SeenFile, ...] = watch_store(workspace).known_files()
        self._corpus: Corpus | None = None
        self._files_digest = ""

    def read(self, client: QdrantClient | None = None) -> Corpus:
        """The corpus now.

        Args:
            client: The vector store where it is open: a collection may be where documents come from.

        Raises:
            CorpusError: If the documents cannot be read, or there are none.
        """
        settings = self._workspace.settings
        listing = list_corpus(settings.corpus_path, marker=settings.drop_marker)
        self._seen = read_contents(listing, self._seen)
        # Taken before the documents are read, so that a change in between is seen by the next look.
        digest = content_digest(self._seen, marker=settings.drop_marker)
        if self._corpus is None or digest != self._files_digest or has_collections(settings.corpus_path):
            self._corpus = self._workspace.load_corpus(self._settings, tokenizer=self._tokenizer, client=client)
            self._files_digest = digest
        return self._corpus

    def note_indexed(self, collection: str) -> None:
        """Write down that a live collection holds what was read last, so that the sensor asks for nothing more."""
        assert self._corpus is not None
        state = IndexedState(self._files_digest, self._corpus.corpus_version, collection)
        indexed_store(self._workspace).save(state)


def index_new_documents(
    workspace: Workspace, *, before: ServedDocuments | None, most_deleted_share: float = 1.0
) -> ServedDocuments:
    """Encode new and changed chunks with the live model, and make the live collection hold exactly the documents.

    Args:
        workspace: The deployment.
        before: What this function returned last, for the names of the documents that changed since.
        most_deleted_share: Refuse when more than this share of the collection would go at once.

    Raises:
        CorpusError: If the documents cannot be read, or there are none.
        AliasConflictError: If the alias moved meanwhile; running again is right.
        ServingError: If too much would be deleted, or the store refuses.
    """
    started = time.monotonic()
    alias = workspace.settings.serving_alias
    # Opened once: an embedded store reads all its collections each time.
    with workspace.open_store() as client:
        live = live_collection(client, alias)
        if live is None:
            return _nothing_live(alias)
        documents = CurrentDocuments(workspace, live.chunking)
        corpus = documents.read(client)
        encoder = workspace.registry.encoder(live.model_version)
        if current_target(client, alias) != live.collection:
            raise AliasConflictError(
                f"The alias {alias} moved away from {live.collection} while documents were being read.",
                fix="Run index_new_documents_job again.",
            )
        result = reconcile_collection(
            client,
            live.collection,
            corpus,
            encoder=encoder,
            most_deleted_share=most_deleted_share,
        )
    documents.note_indexed(live.collection)
    changes = compare_corpora(_corpus_before(workspace, before), corpus)
    return _served(live, corpus, changes, result, alias=alias, duration_s=time.monotonic() - started)


def _nothing_live(alias: str) -> ServedDocuments:
    reason = f"Nothing is live behind the alias {alias}; retrain_and_promote_job indexes all documents."
    logger.info(reason)
    return ServedDocuments(alias, reason, None, None, (), (), (), 0, 0.0, (), ())


def _corpus_before(workspace: Workspace, before: ServedDocuments | None) -> Corpus | None:
    if before is not None and before.documents:
        return Corpus("", before.chunks, before.documents, (), 0)
    return workspace.stored(Corpus, "corpus_chunks")


def _served(
    live: CollectionMetadata,
    corpus: Corpus,
    changes: CorpusChanges,
    result: Reconciliation,
    *,
    alias: str,
    duration_s: float,
) -> ServedDocuments:
    touched = result.added + result.updated + result.deleted
    return ServedDocuments(
        alias=alias,
        reason=f"{touched} of {result.point_count} chunks were written or deleted"
        if touched
        else "the live collection held exactly these documents already",
        reconciliation=result,
        model_version=live.model_version,
        added_documents=changes.added_documents,
        changed_documents=changes.changed_documents,
        deleted_documents=changes.removed_documents,
        quarantine_count=len(corpus.quarantine),
        duration_s=duration_s,
        documents=corpus.documents,
        chunks=corpus.chunks,
    )
