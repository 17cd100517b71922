"""What the corpus is now: every readable document, cut into chunks that are named by their content.

What belongs here: from locations to a `Corpus`. What does not: formats (`readers/`), cutting (`chunking`), merging
(`collecting`), what changed since (`changes`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.corpus.collecting import CorpusCollector
from domain_embed_pipeline.corpus.documents import MEDIA_TYPES, CutDocument, chunks_of_document, ready_drafts
from domain_embed_pipeline.corpus.erasures import Erasure
from domain_embed_pipeline.corpus.existing_index import SCHEME, parse_location, read_index
from domain_embed_pipeline.corpus.readers.ready_chunks import Row, read_jsonl, read_parquet
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.sources import DOCUMENT_SUFFIXES, FORMATS, READY_SUFFIXES, SourceFile, list_files
from domain_embed_pipeline.corpus.tokens import TokenCounter
from domain_embed_pipeline.errors import CorpusSourceError, EmptyCorpusError, UnreadableDocumentError
from domain_embed_pipeline.records import Corpus

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

_LOG_EVERY = 1_000


def load_corpus(
    location: str,
    *,
    settings: CorpusSettings,
    count_tokens: TokenCounter,
    qdrant_client: QdrantClient | None = None,
    erasures: Sequence[Erasure] = (),
) -> Corpus:
    """Read every document at `location` and cut it into chunks.

    Args:
        location: A folder, a file (any fsspec URL) or `qdrant://COLLECTION?...`; several separated by commas.
        settings: How to read and cut.
        count_tokens: Length of a text in the base model's tokens.
        qdrant_client: Open store; needed for `qdrant://` only.
        erasures: Documents that must not come back; they are left out wherever they lie.

    Raises:
        CorpusSourceError: If a location does not exist or does not answer.
        EmptyCorpusError: If no document at all could be read.
    """
    reader = _CorpusReader(settings, count_tokens)
    for part in filter(None, (part.strip() for part in location.split(","))):
        if part.startswith(SCHEME):
            reader.read_index(part, qdrant_client)
        else:
            reader.read_location(part)
    return reader.finish(location, erasures)


class _CorpusReader:
    """Settings, counter and collector, for the functions that share them."""

    def __init__(self, settings: CorpusSettings, count_tokens: TokenCounter) -> None:
        self._settings = settings
        self._count_tokens = count_tokens
        self._collector = CorpusCollector()
        self._file_ids: set[str] = set()
        self._cut: dict[tuple[str, bytes], CutDocument] = {}

    def read_location(self, location: str) -> None:
        """Read each file; one that cannot be read is set aside and the rest goes on."""
        files = list_files(location, settings=self._settings)
        folder_name = location.rstrip("/").rpartition("/")[2]
        for number, file in enumerate(files, start=1):
            document_id = self._free_id(file.document_id, folder_name)
            try:
                self._read_file(file, document_id)
            except UnreadableDocumentError as error:
                # A folder of code or pictures beside the documents would fill the log; the summary counts them.
                level = logging.DEBUG if error.reason == "unsupported" else logging.WARNING
                logger.log(level, "%s is set aside: %s", document_id, error)
                self._collector.set_aside(document_id, error, byte_count=file.byte_count)
            if number % _LOG_EVERY == 0:
                logger.info("%d of %d files of %s read", number, len(files), location)

    def read_index(self, location: str, client: QdrantClient | None) -> None:
        """Read the chunks of an existing collection."""
        index = parse_location(location)
        if client is None:
            raise CorpusSourceError(
                f"{location!r} names a collection, and no Qdrant store is open.",
                fix="Pass an open client as qdrant_client, or name a folder of documents.",
            )
        self._add_rows(read_index(client, index), f"{SCHEME}{index.collection}", "application/vnd.qdrant")

    def finish(self, location: str, erasures: Sequence[Erasure] = ()) -> Corpus:
        """What was read, without what was erased.

        Raises:
            EmptyCorpusError: If there is no chunk.
        """
        if erased := self._collector.forget(erasures):
            logger.info("%d documents are on the list of erased ones and are left out", erased)
        corpus = dataclasses.replace(self._collector.corpus(), settings=dataclasses.asdict(self._settings))
        counts = self._collector.quarantine_counts()
        set_aside = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        if not corpus.chunks:
            raise EmptyCorpusError(
                f"No readable document in {location!r}; set aside: {set_aside or 'nothing'}.",
                fix=f"Put documents there; the formats are {FORMATS}.",
            )
        logger.info(
            "%s: %d chunks of %d documents, %d equal passages merged; set aside: %s",
            *(corpus.corpus_version, len(corpus.chunks), len(corpus.documents), corpus.duplicate_count),
            set_aside or "nothing",
        )
        self._warn_of_long_chunks(corpus)
        return corpus

    def _warn_of_long_chunks(self, corpus: Corpus) -> None:
        """Only ready chunks can be too long: they are taken as they are."""
        too_long = [chunk for chunk in corpus.chunks if chunk.token_count > self._settings.max_tokens]
        if too_long:
            longest = max(too_long, key=lambda chunk: chunk.token_count)
            logger.warning(
                "%d ready chunks have more than %d tokens; the longest, %s, has %d. What lies beyond the maximum "
                "length of a model is not seen: nothing there is learned or found. Split these chunks where they come "
                "from, or choose a base model that reads as much (DOMAIN_EMBED_BASE_MODEL) and raise max_length of "
                "both training stages.",
                *(len(too_long), self._settings.max_tokens, longest.chunk_id, longest.token_count),
            )

    def _free_id(self, document_id: str, folder_name: str) -> str:
        """The id, or one with the location's name where an earlier location has a file of that id."""
        free, number = document_id, 1
        while free in self._file_ids:
            free = f"{folder_name}/{document_id}" if number == 1 else f"{folder_name}/{document_id}~{number}"
            number += 1
        self._file_ids.add(free)
        return free

    def _read_file(self, file: SourceFile, document_id: str) -> None:
        if file.problem is not None:
            raise file.problem
        if file.suffix in READY_SUFFIXES:
            self._read_ready_file(file, document_id)
        elif file.suffix in DOCUMENT_SUFFIXES:
            data = file.read(most_bytes=self._settings.max_file_bytes)
            self._collector.add_document(document_id, self._cut_document(data, file.suffix), byte_count=len(data))
        else:
            raise UnreadableDocumentError("unsupported", f"extension {file.suffix or '(none)'}; known are {FORMATS}")

    def _cut_document(self, data: bytes, suffix: str) -> CutDocument:
        """Chunks of the bytes, cut once however many files hold them."""
        key = (suffix, hashlib.sha256(data).digest())
        if key not in self._cut:
            self._cut[key] = chunks_of_document(data, suffix, settings=self._settings, count_tokens=self._count_tokens)
        return self._cut[key]

    def _read_ready_file(self, file: SourceFile, document_id: str) -> None:
        if file.byte_count == 0:
            raise UnreadableDocumentError("empty", "0 bytes")
        with file.opened() as opened:
            if file.suffix == ".parquet":
                rows = read_parquet(opened)
            else:
                rows = read_jsonl(opened, most_row_bytes=self._settings.max_file_bytes)
            self._add_rows(rows, document_id, MEDIA_TYPES[file.suffix])

    def _add_rows(self, rows: Iterator[Row], name: str, media_type: str) -> None:
        """Ready chunks, all or none of a file: half a file would pass for one from which rows were deleted."""
        good, bad = [], []
        for number, row in rows:
            if isinstance(row, UnreadableDocumentError):
                bad.append((number, row))
            else:
                good.append(row)
        for row, draft in zip(good, ready_drafts(good, self._count_tokens), strict=True):
            self._collector.add_ready_chunk(draft, row.source or name, media_type)
        if bad:
            logger.warning("%s: %d of %d rows are set aside", name, len(bad), len(bad) + len(good))
            self._collector.set_aside_rows(name, bad)
