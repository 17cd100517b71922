"""What changed between two snapshots of a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from domain_embed_pipeline.records import Corpus


@dataclass(frozen=True, slots=True)
class CorpusChanges:
    """Documents and chunks of the new snapshot against the old one; ids sorted."""

    added_documents: tuple[str, ...]
    changed_documents: tuple[str, ...]
    """In both, with another digest."""
    removed_documents: tuple[str, ...]
    unchanged_document_count: int
    added_chunks: tuple[str, ...]
    removed_chunks: tuple[str, ...]
    kept_chunk_count: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        documents = self.added_documents or self.changed_documents or self.removed_documents
        return not (documents or self.added_chunks or self.removed_chunks)

    @property
    def chunk_share(self) -> float:
        """Share of the new snapshot's chunks that are new: what a second run costs, about."""
        total = len(self.added_chunks) + self.kept_chunk_count
        return len(self.added_chunks) / total if total else 0.0


def compare_corpora(old: Corpus | None, new: Corpus) -> CorpusChanges:
    """What came, changed and went; everything came when there was no old one."""
    before = {document.document_id: document.document_digest for document in old.documents} if old else {}
    after = {document.document_id: document.document_digest for document in new.documents}
    both = before.keys() & after.keys()
    changed = {name for name in both if before[name] != after[name]}
    old_chunks = {chunk.chunk_id for chunk in old.chunks} if old else set()
    new_chunks = {chunk.chunk_id for chunk in new.chunks}
    return CorpusChanges(
        added_documents=tuple(sorted(after.keys() - before.keys())),
        changed_documents=tuple(sorted(changed)),
        removed_documents=tuple(sorted(before.keys() - after.keys())),
        unchanged_document_count=len(both) - len(changed),
        added_chunks=tuple(sorted(new_chunks - old_chunks)),
        removed_chunks=tuple(sorted(old_chunks - new_chunks)),
        kept_chunk_count=len(new_chunks & old_chunks),
    )
