"""What changed between two snapshots of a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from domain_embed_pipeline.records import Corpus


@dataclass(frozen=True, slots=True)
class CorpusChanges:
    """Documents and chunks of the new snapshot against the old one, each sorted."""

    added_documents: tuple[str, ...]
    changed_documents: tuple[str, ...]
    removed_documents: tuple[str, ...]
    added_chunks: tuple[str, ...]
    removed_chunks: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added_documents or self.changed_documents or self.removed_documents)


def compare_corpora(old: Corpus | None, new: Corpus) -> CorpusChanges:
    """What came, changed and went; everything came when there was no old one."""
    before = {document.document_id: document.document_digest for document in old.documents} if old else {}
    after = {document.document_id: document.document_digest for document in new.documents}
    old_chunks = {chunk.chunk_id for chunk in old.chunks} if old else set()
    new_chunks = {chunk.chunk_id for chunk in new.chunks}
    return CorpusChanges(
        added_documents=tuple(sorted(after.keys() - before.keys())),
        changed_documents=tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
        removed_documents=tuple(sorted(before.keys() - after.keys())),
        added_chunks=tuple(sorted(new_chunks - old_chunks)),
        removed_chunks=tuple(sorted(old_chunks - new_chunks)),
    )
