"""The user's own (query, chunk) pairs: the train judgments of a BEIR folder, or a click log.

What belongs here: reading them and finding their chunks. What does not: filters, leakage (a click log may hold test
queries: `leakage` takes those out).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from domain_embed_pipeline.errors import UserPairsError
from domain_embed_pipeline.ids import digest_of, normalise_text, pair_id_of
from domain_embed_pipeline.pairs.beir import (
    QUERIES_FILE,
    has_file,
    qrels_path,
    read_json_lines,
    read_qrels,
    read_queries,
)
from domain_embed_pipeline.pairs.records import BadRow, UserPairs
from domain_embed_pipeline.pairs.references import ChunkReferences
from domain_embed_pipeline.records import Corpus, TrainingPair

_QUERY_COLUMNS = ("query", "text", "question", "anchor")
_CHUNK_COLUMNS = ("chunk_id", "corpus-id", "corpus_id", "document_id", "_id")


@dataclass(frozen=True, slots=True)
class UserPairSettings:
    """How the user's pairs become training pairs."""

    max_chunks_per_query: int = 5
    """Chunks that one query may name. A whole document stands for all its chunks, most of which do not answer it."""
    seed: int = 13
    """Chooses which chunks the cap leaves."""


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    query: str
    reference: str
    reason: str = ""


def load_user_pairs(path: str, corpus: Corpus, *, settings: UserPairSettings | None = None) -> UserPairs:
    """Pairs of a BEIR folder (`qrels/train.tsv`) or of a click log (`.jsonl`, `.csv`, `.parquet`).

    A click log has the columns `query` and `chunk_id`, and may have a numeric `score`: rows at 0 or below are left out.
    A `chunk_id` is anything that `references` understands. Rows that cannot be used are listed, never dropped silently.

    Raises:
        UserPairsError: If the file is missing, of another kind, lacks a column, or none of its rows is usable.
    """
    settings = settings or UserPairSettings()
    path = str(path)
    rows = list(_beir_rows(path) if has_file(f"{path.rstrip('/')}/{QUERIES_FILE}") else _log_rows(path))
    references = ChunkReferences(corpus)
    bad: list[BadRow] = []
    pairs: dict[str, list[TrainingPair]] = defaultdict(list)
    for row in rows:
        chunks = () if row.reason else references.resolve(row.reference)
        if not chunks:
            bad.append(BadRow(row.number, row.query, row.reference, row.reason or "unknown_chunk"))
        for chunk in chunks:
            positive = chunk.embedding_text
            pair_id = pair_id_of(row.query, positive)
            pairs[row.query].append(TrainingPair(pair_id, row.query, positive, chunk.chunk_id, "user", "user"))
    if rows and not pairs:
        raise UserPairsError(
            f"None of the {len(rows)} rows of {path} names a chunk of the corpus; the first is {bad[0]}.",
            fix="Name chunks by the corpus's own ids, by chunk_id, or by document id.",
        )
    kept = {pair.pair_id: pair for group in pairs.values() for pair in _capped(group, settings)}
    return UserPairs(tuple(kept[pair_id] for pair_id in sorted(kept)), tuple(bad))


def user_pairs_paths(own_path: str | None, queries_path: str | None, *, use_train_qrels: bool) -> tuple[str, ...]:
    """Where the user's pairs lie: the path given for them, and the queries' folder when it holds train judgments.

    Args:
        own_path: A BEIR folder or a click log.
        queries_path: The BEIR folder of the evaluation queries.
        use_train_qrels: Whether its `qrels/train.tsv` counts.
    """
    paths = [own_path] if own_path else []
    if use_train_qrels and queries_path and has_file(qrels_path(queries_path, "train")):
        paths.append(queries_path)
    return tuple(dict.fromkeys(path.rstrip("/") for path in paths))


def load_all_user_pairs(
    paths: Sequence[str], corpus: Corpus, *, settings: UserPairSettings | None = None
) -> UserPairs | None:
    """`load_user_pairs` of several places as one; a pair that stands in two counts once. None without a place.

    Raises:
        UserPairsError: If one of them is unusable.
    """
    loaded = [load_user_pairs(path, corpus, settings=settings) for path in paths]
    if not loaded:
        return None
    pairs = {pair.pair_id: pair for user_pairs in loaded for pair in user_pairs.pairs}
    bad_rows = tuple(row for user_pairs in loaded for row in user_pairs.bad_rows)
    return UserPairs(tuple(pairs[pair_id] for pair_id in sorted(pairs)), bad_rows)


def _capped(pairs: Iterable[TrainingPair], settings: UserPairSettings) -> list[TrainingPair]:
    distinct = {pair.pair_id: pair for pair in pairs}
    order = sorted(distinct, key=lambda pair_id: digest_of("user", str(settings.seed), pair_id))
    return [distinct[pair_id] for pair_id in order[: settings.max_chunks_per_query]]


def _beir_rows(folder: str) -> Iterator[_Row]:
    queries = read_queries(folder, error=UserPairsError)
    for row in read_qrels(qrels_path(folder, "train"), error=UserPairsError):
        if row.query_id not in queries:
            yield _Row(row.line, row.query_id, row.reference, "unknown_query")
        else:
            yield _checked_row(row.line, queries[row.query_id], row.reference, row.score)


def _log_rows(path: str) -> Iterator[_Row]:
    for number, row in _records(path):
        query = next((row[name] for name in _QUERY_COLUMNS if name in row), None)
        reference = next((row[name] for name in _CHUNK_COLUMNS if name in row), None)
        if number == 1 and (query is None or reference is None) and not path.endswith(".jsonl"):
            raise UserPairsError(f"{path} has the columns {list(row)}.", fix="Name two columns query and chunk_id.")
        yield _checked_row(number, query, reference, row.get("score"))


def _records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.rpartition(".")[2].lower()
    if suffix == "jsonl":
        yield from read_json_lines(path, error=UserPairsError)
        return
    if suffix not in {"csv", "parquet"}:
        raise UserPairsError(
            f"{path} is neither a BEIR folder nor a .jsonl, .csv or .parquet file.",
            fix="Give a folder with queries.jsonl and qrels/train.tsv, or a click log.",
        )
    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except FileNotFoundError:
        raise UserPairsError(f"{path} does not exist.", fix="Check DOMAIN_EMBED_USER_PAIRS_PATH.") from None
    yield from enumerate(_csv_rows(path, data) if suffix == "csv" else _parquet_rows(path, data), start=1)


def _csv_rows(path: str, data: bytes) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise UserPairsError(f"{path} is not a UTF-8 CSV file: {problem}.", fix="Save it as UTF-8 CSV.") from None


def _parquet_rows(path: str, data: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(data)).to_pylist()
    except pa.ArrowInvalid as problem:
        raise UserPairsError(f"{path} is not a Parquet file: {problem}.", fix="Write it again.") from None


def _checked_row(number: int, query: Any, reference: Any, score: Any) -> _Row:
    text = normalise_text(query) if isinstance(query, str) else ""
    name = "" if reference is None else str(reference).strip()
    if not text:
        return _Row(number, "", name, "empty_query")
    if not name:
        return _Row(number, text, "", "no_reference")
    return _Row(number, text, name, _score_problem(score))


def _score_problem(score: Any) -> str:
    if score is None or score == "":
        return ""
    try:
        return "" if float(score) > 0 else "not_relevant"
    except (TypeError, ValueError):
        return "malformed"
