"""What the corpus is now: every readable document, cut into chunks that are named by their content.

What belongs here: from locations to a `Corpus`. What does not: formats (`readers/`), cutting (`chunking`), what changed
since (`changes`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from domain_embed_pipeline.corpus.chunking import ChunkDraft, chunk_document, embedding_text_of
from domain_embed_pipeline.corpus.decoding import decode_text
from domain_embed_pipeline.corpus.existing_index import SCHEME, parse_location, read_index
from domain_embed_pipeline.corpus.readers.docx import parse_docx
from domain_embed_pipeline.corpus.readers.html import declared_encoding_of, parse_html
from domain_embed_pipeline.corpus.readers.markdown import parse_markdown
from domain_embed_pipeline.corpus.readers.pdf import parse_pdf
from domain_embed_pipeline.corpus.readers.plain_text import parse_text
from domain_embed_pipeline.corpus.readers.ready_chunks import Row, read_jsonl, read_parquet
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.sources import DOCUMENT_SUFFIXES, READY_SUFFIXES, SourceFile, list_files
from domain_embed_pipeline.corpus.structure import ParsedDocument, ReadyChunk
from domain_embed_pipeline.corpus.tokens import TokenCounter
from domain_embed_pipeline.errors import CorpusSourceError, EmptyCorpusError, UnreadableDocumentError
from domain_embed_pipeline.ids import chunk_id_of, version_of
from domain_embed_pipeline.records import Chunk, Corpus, Document, QuarantinedFile

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

MEDIA_TYPES = {
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
}
_BINARY_SUFFIXES = frozenset({".pdf", ".docx"})
_LOG_EVERY = 200


def load_corpus(
    location: str,
    *,
    settings: CorpusSettings,
    count_tokens: TokenCounter,
    qdrant_client: QdrantClient | None = None,
) -> Corpus:
    """Read every document at `location` and cut it into chunks.

    Args:
        location: A folder, a file (any fsspec URL) or `qdrant://COLLECTION?...`; several separated by commas.
        settings: How to read and cut.
        count_tokens: Length of a text in the base model's tokens.
        qdrant_client: Open store; needed for `qdrant://` only.

    Raises:
        CorpusSourceError: If a location does not exist.
        EmptyCorpusError: If no document at all could be read.
    """
    collector = _Collector(settings, count_tokens)
    locations = [part.strip() for part in location.split(",") if part.strip()]
    for part in locations:
        if part.startswith(SCHEME):
            collector.add_index(part, qdrant_client)
        else:
            collector.add_files(list_files(part, settings=settings))
    return collector.corpus(location)


def chunks_of_document(
    data: bytes, suffix: str, *, settings: CorpusSettings, count_tokens: TokenCounter
) -> list[ChunkDraft]:
    """Chunks of one document from its bytes; depends on nothing else.

    Raises:
        UnreadableDocumentError: With the reason for which it is set aside.
    """
    if not data.strip():
        raise UnreadableDocumentError("empty", f"{len(data)} bytes, none of them text")
    parsed = _parsed(data, suffix, settings)
    if isinstance(parsed, ParsedDocument):
        drafts = chunk_document(parsed, settings=settings, count_tokens=count_tokens)
    else:
        drafts = [_ready_draft(chunk, count_tokens) for chunk in parsed]
    if not drafts:
        raise UnreadableDocumentError("no_text", "nothing but markup")
    return drafts


def _parsed(data: bytes, suffix: str, settings: CorpusSettings) -> ParsedDocument | list[ReadyChunk]:
    if suffix == ".pdf":
        return parse_pdf(data)
    if suffix == ".docx":
        return _parsed_docx(data, settings)
    if suffix in (".html", ".htm"):
        return parse_html(decode_text(data, declared_encoding=declared_encoding_of(data)).text)
    text = decode_text(data).text
    return parse_text(text) if suffix == ".txt" else parse_markdown(text)


def _parsed_docx(data: bytes, settings: CorpusSettings) -> ParsedDocument:
    try:
        return parse_docx(data, most_unpacked_bytes=settings.max_file_bytes * 20)
    except UnreadableDocumentError:
        raise
    except Exception as error:
        # zipfile, the XML parser and mammoth each raise errors of their own on a damaged file.
        raise UnreadableDocumentError("unreadable", f"damaged DOCX: {type(error).__name__}: {error}") from error


def _ready_draft(chunk: ReadyChunk, count_tokens: TokenCounter) -> ChunkDraft:
    tokens = count_tokens(embedding_text_of(chunk.text, chunk.title))
    return ChunkDraft(chunk.text, chunk.title, tokens, chunk.external_id)


class _Merged:
    """A chunk while its documents are being collected."""

    __slots__ = ("draft", "external_ids", "places")

    def __init__(self, draft: ChunkDraft) -> None:
        self.draft = draft
        self.places: dict[str, int] = {}
        self.external_ids: set[str] = set()

    def record(self, chunk_id: str) -> Chunk:
        """The finished chunk; its position is that in the first of its documents by name."""
        documents = tuple(sorted(self.places))
        return Chunk(
            chunk_id=chunk_id,
            text=self.draft.text,
            title=self.draft.title,
            document_ids=documents,
            external_ids=tuple(sorted(self.external_ids)),
            position=self.places[documents[0]],
            token_count=self.draft.token_count,
        )


class _Collector:
    """Gathers chunks, documents and quarantine over all locations."""

    def __init__(self, settings: CorpusSettings, count_tokens: TokenCounter) -> None:
        self._settings = settings
        self._count_tokens = count_tokens
        self._chunks: dict[str, _Merged] = {}
        self._documents: dict[str, Document] = {}
        self._quarantine: list[QuarantinedFile] = []
        self._parsed: dict[str, list[ChunkDraft]] = {}
        self._duplicates = 0

    def add_files(self, files: Iterable[SourceFile]) -> None:
        """Read each file; one that cannot be read goes to quarantine and the rest goes on."""
        files = list(files)
        for number, file in enumerate(files, start=1):
            try:
                self._add_file(file)
            except UnreadableDocumentError as error:
                self._set_aside(file.document_id, error, file.byte_count)
            if number % _LOG_EVERY == 0 or number == len(files):
                logger.info("[%d/%d] files read", number, len(files))

    def add_index(self, location: str, client: QdrantClient | None) -> None:
        """Read the chunks of an existing collection."""
        if client is None:
            raise CorpusSourceError(
                f"{location!r} needs a Qdrant store and none is open.", fix="Pass qdrant_client, or give documents."
            )
        index = parse_location(location)
        self._add_rows(read_index(client, index), name=index.collection, media_type="application/vnd.qdrant", size=0)

    def corpus(self, location: str) -> Corpus:
        """What was gathered.

        Raises:
            EmptyCorpusError: If there is no chunk.
        """
        if not self._chunks:
            reasons = sorted({f"{row.document_id}: {row.reason}" for row in self._quarantine})[:3]
            raise EmptyCorpusError(
                f"No readable document in {location!r}" + (f" ({'; '.join(reasons)})." if reasons else "."),
                fix=f"Put documents there: {', '.join(sorted(DOCUMENT_SUFFIXES | READY_SUFFIXES))}.",
            )
        chunks = [merged.record(chunk_id) for chunk_id, merged in self._chunks.items()]
        chunks.sort(key=lambda chunk: (chunk.document_id, chunk.position, chunk.chunk_id))
        contents = (f"{chunk.chunk_id} {chunk.document_ids} {chunk.external_ids}" for chunk in chunks)
        return Corpus(
            corpus_version=version_of("corpus", contents),
            chunks=tuple(chunks),
            documents=tuple(self._documents[name] for name in sorted(self._documents)),
            quarantine=tuple(sorted(self._quarantine, key=lambda row: row.document_id)),
            duplicate_count=self._duplicates,
        )

    def _add_file(self, file: SourceFile) -> None:
        if file.problem is not None:
            raise file.problem
        if file.suffix in READY_SUFFIXES:
            self._add_ready_file(file)
            return
        if file.suffix not in DOCUMENT_SUFFIXES:
            known = ", ".join(sorted(DOCUMENT_SUFFIXES | READY_SUFFIXES))
            raise UnreadableDocumentError("unsupported", f"extension {file.suffix or '(none)'}; known are {known}")
        if file.byte_count > self._settings.max_file_bytes:
            raise UnreadableDocumentError(
                "too_large", f"{file.byte_count} bytes, over the limit of {self._settings.max_file_bytes}"
            )
        data = file.read()
        digest = _digest(data, file.suffix)
        key = f"{file.suffix}:{digest}"
        if key not in self._parsed:
            self._parsed[key] = chunks_of_document(
                data, file.suffix, settings=self._settings, count_tokens=self._count_tokens
            )
        drafts = self._parsed[key]
        for position, draft in enumerate(drafts):
            self._add_draft(draft, file.document_id, position)
        self._documents[file.document_id] = Document(
            file.document_id, digest, MEDIA_TYPES[file.suffix], len(data), len(drafts)
        )

    def _add_ready_file(self, file: SourceFile) -> None:
        if file.byte_count == 0:
            raise UnreadableDocumentError("empty", "0 bytes")
        with file.open() as opened:
            if file.suffix == ".parquet":
                rows = read_parquet(opened)
            else:
                rows = read_jsonl(opened, most_row_bytes=self._settings.max_file_bytes)
            self._add_rows(rows, name=file.document_id, media_type=MEDIA_TYPES[file.suffix], size=file.byte_count)

    def _add_rows(self, rows: Iterator[Row], *, name: str, media_type: str, size: int) -> None:
        """Ready chunks; each source that they name is a document of its own."""
        counts: dict[str, int] = {}
        digests: dict[str, hashlib._Hash] = {}
        for number, row in rows:
            if isinstance(row, UnreadableDocumentError):
                self._set_aside(f"{name}:{number}", row, 0)
                continue
            source = row.source or name
            position = counts.get(source, 0)
            chunk_id = self._add_draft(_ready_draft(row, self._count_tokens), source, position)
            counts[source] = position + 1
            digests.setdefault(source, hashlib.sha256()).update(chunk_id.encode())
        for source, count in counts.items():
            digest = digests[source].hexdigest()
            self._documents[source] = Document(source, digest, media_type, size if source == name else 0, count)

    def _add_draft(self, draft: ChunkDraft, document_id: str, position: int) -> str:
        chunk_id = chunk_id_of(draft.text, draft.title)
        merged = self._chunks.get(chunk_id)
        if merged is None:
            merged = self._chunks[chunk_id] = _Merged(draft)
        else:
            self._duplicates += 1
        merged.places.setdefault(document_id, position)
        if draft.external_id:
            merged.external_ids.add(draft.external_id)
        return chunk_id

    def _set_aside(self, document_id: str, error: UnreadableDocumentError, size: int) -> None:
        logger.warning("%s is set aside: %s (%s)", document_id, error.reason, error.detail)
        self._quarantine.append(QuarantinedFile(document_id, error.reason, error.detail, size))


def _digest(data: bytes, suffix: str) -> str:
    """sha256 of a document's bytes; line ends of text formats do not count."""
    if suffix not in _BINARY_SUFFIXES:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return hashlib.sha256(data).hexdigest()
