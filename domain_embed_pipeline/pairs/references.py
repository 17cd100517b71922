"""What a user may write to name chunks, and which chunks that is.

A reference is, in this order: an id that the user's own system gave a chunk (BEIR `_id`, Qdrant point id), our chunk
id, a document id (each of its chunks), or `document id#Heading` (its chunks under that heading).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from domain_embed_pipeline.ids import normalise_text
from domain_embed_pipeline.records import Chunk, Corpus

_TITLE_SEPARATOR = " > "


class ChunkReferences:
    """Looks up references in one corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._by_id: dict[str, list[Chunk]] = defaultdict(list)
        self._by_document: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in sorted(corpus.chunks, key=lambda chunk: (chunk.position, chunk.chunk_id)):
            for chunk_id in {chunk.chunk_id, *chunk.external_ids}:
                self._by_id[chunk_id].append(chunk)
            for document_id in chunk.document_ids:
                self._by_document[document_id].append(chunk)

    def resolve(self, reference: str) -> tuple[Chunk, ...]:
        """Chunks that the reference names, in document order; empty when it names nothing."""
        reference = reference.strip()
        if reference in self._by_id:
            return tuple(self._by_id[reference])
        if reference in self._by_document:
            return tuple(self._by_document[reference])
        # Either part may hold a "#" of its own.
        for document_id, heading in _divisions(reference):
            chunks = [chunk for chunk in self._by_document.get(document_id, ()) if _is_under(chunk.title, heading)]
            if chunks:
                return tuple(chunks)
        return ()


def _divisions(reference: str) -> Iterator[tuple[str, str]]:
    start = reference.find("#")
    while start != -1:
        yield reference[:start], normalise_text(reference[start + 1 :])
        start = reference.find("#", start + 1)


def _is_under(title: str, heading: str) -> bool:
    title = normalise_text(title)
    return bool(heading) and (title == heading or title.endswith(_TITLE_SEPARATOR + heading))
