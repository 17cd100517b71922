"""From the alias to the documents, and from a document to whatever was made of it.

What belongs here: walking. What does not: writing down what is walked along (`registry.learned`, `registry.lineage`,
the collections' metadata), forgetting a document (`forgetting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import CorpusError
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.registry.learned import (
    Learned,
    read_learned,
    versions_that_learned,
    versions_without_record,
)
from domain_embed_pipeline.registry.lineage import LineageEvent
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.contents import documents_in
from domain_embed_pipeline.serving.live import live_collection
from domain_embed_pipeline.serving.metadata import CollectionMetadata, collections_of
from domain_embed_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version on the way from the live model to the base."""

    model_version: str
    kind: str
    made_from: tuple[str, ...]
    created_at: str
    corpus_version: str | None
    pairs_version: str | None
    evaluation_set_version: str | None
    row_count: int
    verdict: str | None
    recall: dict[str, float]
    """Dense Recall@k on test, when it was judged."""
    learned_chunks: int | None
    """Chunks in its own training rows; None when it has no rows or nobody wrote them down."""
    learned_documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """What one model version or collection came from."""

    alias: str
    collection: str | None
    live: bool
    corpus_version: str | None
    retrieval_mode: str | None
    served_documents: dict[str, int]
    """Document to its chunks in the collection."""
    versions: tuple[VersionLine, ...]
    """The model and everything that it was made from, nearest first."""
    moves: tuple[LineageEvent, ...]
    """Every promotion, override and rollback of the alias that involves one of the versions, oldest first."""

    def lines(self, *, with_documents: bool = False) -> list[str]:
        """For a person."""
        where = f"{self.alias} -> {self.collection}" if self.live else str(self.collection or "no collection")
        chunks = sum(self.served_documents.values())
        lines = [
            f"collection  {where}",
            f"holds       {chunks} chunks of {len(self.served_documents)} documents, {self.corpus_version}, "
            f"{self.retrieval_mode}",
        ]
        for line in self.versions:
            lines += _version_lines(line)
        lines += [f"{move.at}  {move.kind} of {move.model_version}: {move.reason}" for move in self.moves]
        if with_documents:
            lines += [f"  {name}  ({count} chunks)" for name, count in sorted(self.served_documents.items())]
        return lines


@dataclass(frozen=True, slots=True)
class DocumentLineage:
    """What was made of one document."""

    document_id: str
    in_corpus: bool
    """Whether the last materialization had it."""
    chunk_ids: tuple[str, ...]
    shared_with: tuple[str, ...]
    """Other documents that hold some of the same passages."""
    collections: dict[str, int]
    """Collection to the chunks of this document in it."""
    live_collection: str | None
    learned: tuple[Learned, ...]
    """Model versions whose weights it moved."""
    live_model: str | None
    untold: tuple[str, ...]
    """Versions of which nobody wrote down what they learned from."""

    def lines(self) -> list[str]:
        """For a person."""
        state = "in the corpus" if self.in_corpus else "not in the corpus as last materialized"
        lines = [f"document    {self.document_id} ({state}, {len(self.chunk_ids)} chunks known)"]
        if self.shared_with:
            lines.append(f"shared      passages also in {', '.join(self.shared_with)}")
        for name, count in self.collections.items():
            lines.append(f"served      {count} chunks in {name}{' (live)' if name == self.live_collection else ''}")
        for row in self.learned:
            live = " (live)" if row.model_version == self.live_model else ""
            through = "" if row.through[0] == row.model_version else f", through {row.through[0]}"
            lines.append(f"trained     {row.model_version}{live} on {len(row.chunk_ids)} chunks{through}")
        if not self.learned:
            lines.append("trained     no version that wrote down what it learned from")
        if self.untold:
            lines.append(f"unknown     {', '.join(self.untold)}: made before this was written down")
        return lines


def _version_lines(line: VersionLine) -> list[str]:
    verdict = f", verdict {line.verdict}" if line.verdict else ""
    figures = ", ".join(f"{name.replace('recall_at_', 'Recall@')} {value:.3f}" for name, value in line.recall.items())
    lines = [
        f"model       {line.model_version} ({line.kind}, {line.created_at}{verdict}{', ' if figures else ''}{figures})"
    ]
    if line.learned_chunks is not None:
        lines.append(
            f"            learned from {line.learned_chunks} chunks of {len(line.learned_documents)} documents in "
            f"{line.row_count} rows ({line.pairs_version}, {line.corpus_version})"
        )
    if line.made_from:
        lines.append(f"            made from {', '.join(line.made_from)}")
    return lines


def trace(workspace: Workspace, what: str | None = None) -> Lineage:
    """The way from what is live (or from a model version or collection) to the documents.

    Raises:
        ModelVersionNotFoundError: If `what` is neither a collection nor a model version.
    """
    alias = workspace.settings.serving_alias
    with workspace.open_store() as client:
        live = live_collection(client, alias)
        metadata = live if what is None else _collection(client, alias, what)
        documents = documents_in(client, metadata.collection) if metadata is not None else {}
    model = metadata.model_version if metadata is not None else what
    registry = workspace.registry
    names = [model, *registry.ancestors(model)] if model is not None else []
    if what is not None and metadata is None:
        registry.manifest(what)
    return Lineage(
        alias=alias,
        collection=metadata.collection if metadata else None,
        live=metadata is not None and live is not None and metadata.collection == live.collection,
        corpus_version=(metadata.content_version or metadata.corpus_version) if metadata else None,
        retrieval_mode=metadata.mode.kind if metadata else None,
        served_documents=documents,
        versions=tuple(_line(registry, registry.manifest(name)) for name in names if registry.has(name)),
        moves=tuple(event for event in workspace.lineage.events(alias) if event.model_version in names),
    )


def _collection(client: QdrantClient, alias: str, what: str) -> CollectionMetadata | None:
    """The collection of that name, or the last live one of that model version."""
    ours = collections_of(client, alias)
    return next((row for row in ours if what in (row.collection, row.model_version)), None)


def _line(registry: ModelRegistry, version: ModelVersion) -> VersionLine:
    learned = read_learned(registry, version.model_version)
    documents = {name for row in learned or () for name in row.document_ids}
    judged = version.judgement
    return VersionLine(
        model_version=version.model_version,
        kind=version.kind,
        made_from=version.made_from,
        created_at=version.created_at,
        corpus_version=version.corpus_version,
        pairs_version=version.pairs_version,
        evaluation_set_version=version.evaluation_set_version,
        row_count=version.row_count,
        verdict=judged.verdict if judged else None,
        recall={name: value for name, value in judged.dense.items() if name.startswith("recall")} if judged else {},
        learned_chunks=len(learned) if learned is not None else None,
        learned_documents=tuple(sorted(documents)),
    )


def trace_document(workspace: Workspace, document: str) -> DocumentLineage:
    """What was made of a document: its chunks, the collections that serve it, the versions that learned from it.

    Args:
        workspace: The deployment.
        document: Its id (source path within the corpus), or an ending of it that only one document has.

    Raises:
        CorpusError: If no document of that name was ever seen, or several have that ending.
    """
    alias = workspace.settings.serving_alias
    registry = workspace.registry
    corpus = workspace.stored(Corpus, "corpus_chunks")
    with workspace.open_store() as client:
        live = live_collection(client, alias)
        served = {row.collection: documents_in(client, row.collection) for row in collections_of(client, alias)}
    known = _known_documents(registry, corpus, served)
    document_id = _resolve(document, known | {entry.document_id for entry in workspace.erasures.entries()})
    chunks = [chunk for chunk in (corpus.chunks if corpus else ()) if document_id in chunk.document_ids]
    learned = versions_that_learned(registry, document_ids={document_id})
    others = {name for chunk in chunks for name in chunk.document_ids} - {document_id}
    return DocumentLineage(
        document_id=document_id,
        in_corpus=corpus is not None and any(row.document_id == document_id for row in corpus.documents),
        chunk_ids=tuple(
            sorted({chunk.chunk_id for chunk in chunks} | {name for row in learned for name in row.chunk_ids})
        ),
        shared_with=tuple(sorted(others)),
        collections={name: documents[document_id] for name, documents in served.items() if document_id in documents},
        live_collection=live.collection if live else None,
        learned=learned,
        live_model=live.model_version if live else None,
        untold=versions_without_record(registry),
    )


def _known_documents(
    registry: ModelRegistry, corpus: Corpus | None, served: dict[str, dict[str, int]]
) -> frozenset[str]:
    known = {row.document_id for row in corpus.documents} if corpus else set()
    for documents in served.values():
        known |= documents.keys()
    for version in registry.versions():
        known |= {name for row in read_learned(registry, version.model_version) or () for name in row.document_ids}
    return frozenset(known)


def _resolve(document: str, known: frozenset[str]) -> str:
    if document in known:
        return document
    ending = [name for name in known if name.endswith(f"/{document}")]
    if len(ending) == 1:
        return ending[0]
    near = ", ".join(sorted(ending or [name for name in known if document.casefold() in name.casefold()])[:5])
    raise CorpusError(
        f"{len(ending) or 'No'} documents known here are named {document!r}.",
        fix=f"Give the whole path within the corpus; near ones: {near or 'none'}.",
    )
