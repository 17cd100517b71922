"""One document from its bytes to its chunks. A pure function, so that its result can be kept under the bytes' digest.

What does not belong here: where documents lie (`sources`), merging them into a corpus (`snapshot`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from domain_embed_pipeline.corpus.chunking import ChunkDraft, chunk_document, embedding_text_of
from domain_embed_pipeline.corpus.decoding import decode_text
from domain_embed_pipeline.corpus.readers.docx import parse_docx
from domain_embed_pipeline.corpus.readers.html import declared_encoding_of, parse_html
from domain_embed_pipeline.corpus.readers.markdown import parse_markdown
from domain_embed_pipeline.corpus.readers.pdf import parse_pdf
from domain_embed_pipeline.corpus.readers.plain_text import parse_text
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.structure import ParsedDocument, ReadyChunk
from domain_embed_pipeline.corpus.tokens import TokenCounter, count_each
from domain_embed_pipeline.errors import UnreadableDocumentError

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
# Word's XML takes five to twenty times its packed size, and several times that as objects.
_UNPACKED_PER_FILE_LIMIT = 5


@dataclass(frozen=True, slots=True)
class CutDocument:
    """What a document came to."""

    document_digest: str
    """sha256 of the text in UTF-8 with line feeds; of the bytes themselves for PDF and DOCX."""
    media_type: str
    """With its charset where the text was not UTF-8."""
    drafts: tuple[ChunkDraft, ...]


@dataclass(frozen=True, slots=True)
class _Parsed:
    content: ParsedDocument | list[ReadyChunk]
    text: str | None = None
    encoding: str = "utf-8"


def chunks_of_document(
    data: bytes, suffix: str, *, settings: CorpusSettings, count_tokens: TokenCounter
) -> CutDocument:
    """Chunks of one document; depends on the arguments alone.

    Args:
        data: All bytes of the file.
        suffix: Lower-case extension with its dot: one of `sources.DOCUMENT_SUFFIXES`.
        settings: How to cut.
        count_tokens: Length of a text in the base model's tokens.

    Raises:
        UnreadableDocumentError: With the reason for which the document is set aside.
    """
    if not data.strip():
        raise UnreadableDocumentError("empty", f"{len(data)} bytes, none of them text")
    parsed = _parsed(data, suffix, settings)
    if isinstance(parsed.content, ParsedDocument):
        drafts = chunk_document(parsed.content, settings=settings, count_tokens=count_tokens)
    else:
        drafts = ready_drafts(parsed.content, count_tokens)
    if not drafts:
        raise UnreadableDocumentError("no_text", "nothing but markup")
    charset = "" if parsed.encoding == "utf-8" else f"; charset={parsed.encoding}"
    digest = hashlib.sha256(data if parsed.text is None else parsed.text.encode())
    return CutDocument(digest.hexdigest(), MEDIA_TYPES[suffix] + charset, tuple(drafts))


def ready_drafts(chunks: Sequence[ReadyChunk], count_tokens: TokenCounter) -> list[ChunkDraft]:
    """Chunks that somebody else cut, counted."""
    counts = count_each([embedding_text_of(chunk.text, chunk.title) for chunk in chunks], count_tokens)
    return [
        ChunkDraft(chunk.text, chunk.title, tokens, chunk.external_id)
        for chunk, tokens in zip(chunks, counts, strict=True)
    ]


def _parsed(data: bytes, suffix: str, settings: CorpusSettings) -> _Parsed:
    try:
        if suffix == ".pdf":
            return _Parsed(parse_pdf(data))
        if suffix == ".docx":
            return _Parsed(parse_docx(data, most_unpacked_bytes=_UNPACKED_PER_FILE_LIMIT * settings.max_file_bytes))
        return _parsed_text(data, suffix)
    except UnreadableDocumentError:
        raise
    except Exception as error:
        # Parsers raise whatever they stumble over in a damaged file (zlib, struct, XML, recursion ...). The file is
        # set aside with the error's name; one bad file must not stop the other ten thousand.
        raise UnreadableDocumentError("unreadable", f"{type(error).__name__}: {error}") from error


def _parsed_text(data: bytes, suffix: str) -> _Parsed:
    is_html = suffix in (".html", ".htm")
    decoded = decode_text(data, declared_encoding=declared_encoding_of(data) if is_html else None)
    if is_html:
        content: ParsedDocument | list[ReadyChunk] = parse_html(decoded.text)
    else:
        content = parse_text(decoded.text) if suffix == ".txt" else parse_markdown(decoded.text)
    return _Parsed(content, decoded.text, decoded.encoding)
