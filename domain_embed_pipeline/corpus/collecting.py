"""Chunks of many documents become one corpus: equals are merged, documents tallied, bad files set aside.

What does not belong here: opening files, formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from domain_embed_pipeline.corpus.chunking import ChunkDraft
from domain_embed_pipeline.corpus.documents import CutDocument
from domain_embed_pipeline.corpus.erasures import Erasure
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline.ids import chunk_id_of, digest_of, version_of
from domain_embed_pipeline.records import Chunk, Corpus, Document, QuarantinedFile

# A file without the right column has no good row at all; a line for each of a million would bury the rest.
_MOST_BAD_ROWS = 1_000


class _MergedChunk:
    """A chunk while its places are being collected."""

    __slots__ = ("draft", "external_ids", "positions")

    def __init__(self, draft: ChunkDraft) -> None:
        self.draft = draft
        self.positions: dict[str, int] = {}
        self.external_ids: set[tuple[str, str]] = set()
        """External id, and the document that gave it."""

    def record(self, chunk_id: str) -> Chunk:
        """The chunk with all its places; its position is the one in the first document by id."""
        document_ids = tuple(sorted(self.positions))
        return Chunk(
            chunk_id=chunk_id,
            text=self.draft.text,
            title=self.draft.title,
            document_ids=document_ids,
            external_ids=tuple(sorted({external_id for external_id, _ in self.external_ids})),
            position=self.positions[document_ids[0]],
            token_count=self.draft.token_count,
        )


class _Tally:
    """A document while its chunks are being collected."""

    __slots__ = ("byte_count", "chunk_count", "contents", "media_type", "position")

    def __init__(self, media_type: str) -> None:
        self.media_type = media_type
        self.byte_count = 0
        self.chunk_count = 0
        self.position = 0
        self.contents: list[str] = []

    def record(self, document_id: str) -> Document:
        """The document; where several texts bear its id, the digest is of all of them, whatever their order."""
        only = self.contents[0] if len(self.contents) == 1 else digest_of("document", *sorted(self.contents))
        return Document(document_id, only, self.media_type, self.byte_count, self.chunk_count)


class CorpusCollector:
    """Takes documents in any order and gives the corpus that they make."""

    def __init__(self) -> None:
        self._chunks: dict[str, _MergedChunk] = {}
        self._documents: dict[str, _Tally] = {}
        self._quarantine: list[QuarantinedFile] = []
        self._duplicate_count = 0

    def add_document(self, document_id: str, cut: CutDocument, *, byte_count: int) -> None:
        """Add a file that was cut into chunks."""
        tally = self._documents.setdefault(document_id, _Tally(cut.media_type))
        tally.byte_count += byte_count
        tally.contents.append(cut.document_digest)
        for draft in cut.drafts:
            self._add(draft, document_id, tally)

    def add_ready_chunk(self, draft: ChunkDraft, document_id: str, media_type: str) -> None:
        """Add a chunk that somebody else cut; a source may come in several rows and files."""
        tally = self._documents.setdefault(document_id, _Tally(media_type))
        tally.byte_count += len(draft.text.encode())
        # Digested even if alone, so that a document's digest is always sha256 in form.
        tally.contents.append(digest_of("ready", chunk_id_of(draft.text, draft.title)))
        self._add(draft, document_id, tally)

    def set_aside(self, document_id: str, error: UnreadableDocumentError, *, byte_count: int = 0) -> None:
        """Put a file into the quarantine."""
        self._quarantine.append(QuarantinedFile(document_id, error.reason, error.detail, byte_count))

    def set_aside_rows(self, document_id: str, errors: Iterable[tuple[int, UnreadableDocumentError]]) -> None:
        """Put rows of a file of ready chunks into the quarantine as `FILE:ROW`; after the first 1,000, their count."""
        untold: Counter[str] = Counter()
        for number, (row, error) in enumerate(errors):
            if number < _MOST_BAD_ROWS:
                self.set_aside(f"{document_id}:{row}", error)
            else:
                untold[error.reason] += 1
        for reason, count in sorted(untold.items()):
            self.set_aside(document_id, UnreadableDocumentError(reason, f"{count} more rows"))

    def quarantine_counts(self) -> dict[str, int]:
        """`reason -> files and rows`, most frequent first."""
        return dict(Counter(row.reason for row in self._quarantine).most_common())

    def forget(self, erasures: Sequence[Erasure]) -> int:
        """Drop what came from erased documents; a passage that another document has too stays with that one.

        Returns:
            How many documents were dropped.
        """
        records = [tally.record(name) for name, tally in self._documents.items()] if erasures else []
        gone = {
            row.document_id for row in records if any(e.means(row.document_id, row.document_digest) for e in erasures)
        }
        for name in gone:
            del self._documents[name]
        for chunk_id, merged in list(self._chunks.items()):
            if not gone.isdisjoint(merged.positions):
                merged.positions = {name: place for name, place in merged.positions.items() if name not in gone}
                merged.external_ids = {row for row in merged.external_ids if row[1] not in gone}
                if not merged.positions:
                    del self._chunks[chunk_id]
        erased_ids = {entry.document_id for entry in erasures}
        self._quarantine = [row for row in self._quarantine if row.document_id not in erased_ids]
        return len(gone)

    def corpus(self) -> Corpus:
        """Everything that was added. The order of adding leaves no trace in ids and versions."""
        chunks = [merged.record(chunk_id) for chunk_id, merged in self._chunks.items()]
        chunks.sort(key=lambda chunk: (chunk.document_id, chunk.position, chunk.chunk_id))
        contents = (digest_of(chunk.chunk_id, *chunk.document_ids, "|", *chunk.external_ids) for chunk in chunks)
        return Corpus(
            corpus_version=version_of("corpus", contents),
            chunks=tuple(chunks),
            documents=tuple(tally.record(name) for name, tally in sorted(self._documents.items())),
            quarantine=tuple(sorted(self._quarantine, key=lambda row: (row.document_id, row.reason))),
            duplicate_count=self._duplicate_count,
        )

    def _add(self, draft: ChunkDraft, document_id: str, tally: _Tally) -> None:
        chunk_id = chunk_id_of(draft.text, draft.title)
        merged = self._chunks.get(chunk_id)
        if merged is None:
            merged = self._chunks[chunk_id] = _MergedChunk(draft)
        else:
            self._duplicate_count += 1
            # Equal but for white space: which spelling is kept must not depend on who came first.
            merged.draft = min(merged.draft, draft, key=lambda each: (each.title, each.text))
        if document_id not in merged.positions:
            merged.positions[document_id] = tally.position
            tally.position += 1
            tally.chunk_count += 1
        if draft.external_id:
            merged.external_ids.add((draft.external_id, document_id))
