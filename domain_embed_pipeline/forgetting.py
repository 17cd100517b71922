"""Forgetting a document: out of the index, ledger, vectors, tables and reports, and never read again.

What belongs here: the order. What does not: each place (`serving.erasure`, `questions.ledger`, `encoding.vector_cache`,
`redaction`), the list that keeps it out (`corpus.erasures`).

The list comes first, so that a run that begins meanwhile does not bring the document back; the corpus table comes last,
since it tells what has to go. Killed in between, the same command goes on. Models are not changed: those that learned
from the document are named, and training again without it is up to their owner.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.provenance import DocumentLineage, trace_document
from domain_embed_pipeline.records import Chunk, Corpus
from domain_embed_pipeline.redaction import redact_json, redact_parquet, rows_with
from domain_embed_pipeline.registry.storage import MANIFEST
from domain_embed_pipeline.serving.erasure import erase_document
from domain_embed_pipeline.workspace import Workspace

logger = logging.getLogger(__name__)

_DERIVED_TEXTS = ("text", "anchor", "positive", "pair_id", "question_id")
"""Columns of rows about a chunk whose values were made from it."""
_SHORTEST_QUOTE = 20
"""Shorter texts are no sign that a report quotes the document."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased, and what learned from it."""

    document_id: str
    chunk_count: int
    """Passages that only this document had."""
    shared_with: tuple[str, ...]
    """Documents that hold some of the same passages, which stay as theirs."""
    points: dict[str, int]
    """Points erased, by collection."""
    ledger_rows: int
    vectors: int
    table_rows: int
    reports: tuple[str, ...]
    """Reports that quoted it and are deleted."""
    learned: tuple[str, ...]
    """Model versions whose weights it moved; they are as they were."""
    live_model_learned: bool
    untold: tuple[str, ...]
    """Versions of which nobody wrote down what they learned from."""

    def lines(self) -> list[str]:
        """For a person."""
        points = ", ".join(f"{count} from {name}" for name, count in self.points.items()) or "none: there is no index"
        lines = [
            f"{self.document_id} is forgotten and stays away, whatever lies in the corpus folder.",
            f"points      {points}",
            f"ledger      {self.ledger_rows} answers and questions",
            f"vectors     {self.vectors}",
            f"tables      {self.table_rows} rows; {len(self.reports)} reports",
        ]
        if self.shared_with:
            lines.append(f"kept        passages that {', '.join(self.shared_with)} also holds")
        live = " (the live model is one of them)" if self.live_model_learned else ""
        lines.append(f"learned     {', '.join(self.learned) or 'no version that wrote it down'}{live}")
        if self.untold:
            lines.append(f"unknown     {', '.join(self.untold)}: made before this was written down")
        lines.append(
            "untouched   your own file, backups, cached vectors of other machines, samples in Dagster's event history"
        )
        return lines


def forget_document(workspace: Workspace, document: str, *, reason: str = "") -> Forgotten:
    """Erase a document everywhere but in the weights of models, and keep it out of every later run.

    Args:
        workspace: The deployment.
        document: Its id (source path within the corpus), or an ending of it that only one document has.
        reason: Why; it stands in the list of erasures.

    Raises:
        CorpusError: If no document of that name was ever seen.
        StoreLockedError: If another process has the embedded store open; nothing was erased then.
    """
    origin = trace_document(workspace, document)
    corpus = workspace.stored(Corpus, "corpus_chunks")
    workspace.erasures.add(origin.document_id, _digest_of(corpus, origin.document_id), reason)
    with workspace.open_store() as client:
        erased = erase_document(client, workspace.settings.serving_alias, origin.document_id)
    chunks = _chunks_to_forget(corpus, origin.document_id, erased.chunks)
    chunk_ids = chunks.keys() | _own_chunk_ids(corpus, origin)
    strings = _strings_to_forget(workspace, origin.document_id, chunks.values(), chunk_ids)
    with workspace.open_ledger() as ledger:
        ledger_rows = ledger.forget(chunk_ids)
    vectors = _forget_vectors(workspace, strings)
    reports = _delete_reports(workspace.reports, strings)
    table_rows = _redact_tables(workspace, strings)
    logger.info("%s is forgotten: %d chunks, %d table rows", origin.document_id, len(chunk_ids), table_rows)
    return Forgotten(
        document_id=origin.document_id,
        chunk_count=len(chunk_ids),
        shared_with=origin.shared_with,
        points=erased.by_collection,
        ledger_rows=ledger_rows,
        vectors=vectors,
        table_rows=table_rows,
        reports=reports,
        learned=tuple(row.model_version for row in origin.learned),
        live_model_learned=any(row.model_version == origin.live_model for row in origin.learned),
        untold=origin.untold,
    )


def _digest_of(corpus: Corpus | None, document_id: str) -> str | None:
    rows = corpus.documents if corpus is not None else ()
    return next((row.document_digest for row in rows if row.document_id == document_id), None)


def _chunks_to_forget(corpus: Corpus | None, document_id: str, served: Iterable[Chunk]) -> dict[str, Chunk]:
    """Chunks that only this document has, now or in an older edition that is still served."""
    current = {chunk.chunk_id: chunk for chunk in corpus.chunks} if corpus is not None else {}
    found = {name: chunk for name, chunk in current.items() if chunk.document_ids == (document_id,)}
    return found | {chunk.chunk_id: chunk for chunk in served if chunk.chunk_id not in current}


def _own_chunk_ids(corpus: Corpus | None, origin: DocumentLineage) -> set[str]:
    """Chunks of the document that some model learned from, but for those that other documents hold now."""
    others = {
        chunk.chunk_id
        for chunk in (corpus.chunks if corpus is not None else ())
        if chunk.document_ids != (origin.document_id,)
    }
    return set(origin.chunk_ids) - others


def _strings_to_forget(
    workspace: Workspace, document_id: str, chunks: Iterable[Chunk], chunk_ids: Collection[str]
) -> frozenset[str]:
    """The document's name, its chunks' ids and texts, and every text that was made from them."""
    strings = {document_id, *chunk_ids}
    for chunk in chunks:
        strings |= {chunk.text, chunk.embedding_text}
    for path in _parquet_files(workspace):
        for row in rows_with(path, "chunk_id", chunk_ids):
            strings |= {row[name] for name in _DERIVED_TEXTS if isinstance(row.get(name), str)}
    with workspace.open_ledger() as ledger:
        strings |= {row.text for rows in ledger.recorded(chunk_ids).values() for row in rows}
    for qrels in _parquet_files(workspace):
        if qrels.name == "qrels.parquet":
            strings |= _orphaned_queries(qrels, chunk_ids)
    return frozenset(string for string in strings if string)


def _orphaned_queries(qrels: Location, chunk_ids: Collection[str]) -> set[str]:
    """Ids and texts of queries that only these chunks answer."""
    queries = qrels.parent / "queries.parquet"
    asked = {row["query_id"] for row in rows_with(qrels, "chunk_id", chunk_ids)}
    rows = [row for row in rows_with(qrels, "query_id", asked) if row["chunk_id"] not in chunk_ids]
    orphans = asked - {row["query_id"] for row in rows}
    texts = {row["text"] for row in rows_with(queries, "query_id", orphans)} if queries.is_file() else set()
    return orphans | texts


def _forget_vectors(workspace: Workspace, strings: Collection[str]) -> int:
    registry = workspace.registry
    texts = sorted(strings)
    count = 0
    for version in registry.versions():
        spec = version.encoder
        if (workspace.local / "vectors" / f"{spec.fingerprint}.sqlite").is_file():
            count += registry.vector_cache(spec).forget(texts, sorted({spec.query_prompt, spec.passage_prompt}))
    return count


def _delete_reports(folder: Location, strings: Collection[str]) -> tuple[str, ...]:
    """Reports quote worst queries and samples; those that quote the document go."""
    quotes = [text for string in strings if len(string) >= _SHORTEST_QUOTE for text in (string, html.escape(string))]
    deleted = []
    for name in folder.files():
        if name.endswith((".html", ".md", ".json", ".csv")):
            content = (folder / name).read_bytes().decode("utf-8", errors="replace")
            if any(quote in content for quote in quotes):
                (folder / name).delete()
                deleted.append(name)
    return tuple(deleted)


def _parquet_files(workspace: Workspace) -> list[Location]:
    """Stored tables, the corpus last: it tells what has to go."""
    return sorted(_table_files(workspace, ".parquet"), key=lambda file: "/tables/corpus_chunks/" in str(file))


def _manifests(workspace: Workspace) -> list[Location]:
    """Of model versions; those that earlier releases wrote quote questions in the leakage certificate."""
    registry = workspace.registry
    return [Location(registry.root) / version.model_version / MANIFEST for version in registry.versions()]


def _table_files(workspace: Workspace, ending: str) -> list[Location]:
    """Also those of writes before the last, which a bucket keeps for a while."""
    folders = (workspace.tables, workspace.frozen_queries, workspace.drops / "trained")
    return [folder / name for folder in folders for name in folder.files() if name.endswith(ending)]


def _redact_tables(workspace: Workspace, strings: Collection[str]) -> int:
    documents = [*_table_files(workspace, "record.json"), *_manifests(workspace)]
    count = sum(redact_json(path, strings) for path in documents)
    return count + sum(redact_parquet(path, strings) for path in _parquet_files(workspace))
