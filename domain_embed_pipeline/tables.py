"""Records as Parquet: the schema of a row type comes from its annotations, in this one place.

A *record folder* holds one frozen dataclass: each field that is a tuple of row records becomes `<field>.parquet`, all
other fields go to `record.json`. Rows of a field that is annotated as a `Sequence` are read when they are asked for, so
that it may be larger than memory. Folders are staged beside their place and renamed, so a failed write leaves what was
there. Behind a URL the tables of each write lie in a folder of their own, which `record.json` names (see `artifacts`).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import json
import logging
import types
import typing
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain_embed_pipeline.artifacts import Location, is_abandoned, new_name
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.sequences import StoredRows, batches

logger = logging.getLogger(__name__)

R = TypeVar("R")

_DOCUMENT = "record.json"
ROW_GROUP = 4_096
"""Rows written, and read, at a time."""
_READINGS = 3
"""A reader that lost its tables to two writes meanwhile begins again so often."""

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


class RecordFormatError(DomainEmbedError):
    """A stored record does not fit the type that is asked for."""


def _row_type(annotation: Any) -> type | None:
    """The row type of a field that is a table; None for all other fields."""
    arguments = typing.get_args(annotation)
    is_tuple = typing.get_origin(annotation) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis
    if not is_tuple and not _is_lazy(annotation):
        return None
    row_type = arguments[0]
    return row_type if isinstance(row_type, type) and dataclasses.is_dataclass(row_type) else None


def _is_lazy(annotation: Any) -> bool:
    return typing.get_origin(annotation) is collections.abc.Sequence


def _row_types(record_type: type) -> dict[str, type]:
    """Row types of the fields that are tables."""
    found = ((name, _row_type(annotation)) for name, annotation in _hints(record_type).items())
    return {name: row_type for name, row_type in found if row_type is not None}


def _arrow_type(annotation: Any) -> tuple[pa.DataType, bool]:
    """Arrow type and nullability of one annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _arrow_type(inner)[0], True
    if origin is typing.Literal:
        return pa.string(), False
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return pa.list_(_arrow_type(arguments[0])[0]), False
    if annotation in _ARROW_TYPES:
        return _ARROW_TYPES[annotation], False
    raise TypeError(f"No Parquet type for annotation {annotation!r}.")


@functools.cache
def _hints(record_type: type) -> dict[str, Any]:
    return typing.get_type_hints(record_type)


@functools.cache
def schema_of(row_type: type) -> pa.Schema:
    """Arrow schema of a row type (a frozen dataclass of plain fields)."""
    fields = []
    for name, annotation in _hints(row_type).items():
        arrow_type, nullable = _arrow_type(annotation)
        fields.append(pa.field(name, arrow_type, nullable=nullable))
    return pa.schema(fields)


def table_of(row_type: type, rows: Iterable[Any]) -> pa.Table:
    """Rows as an Arrow table with the schema of their type."""
    schema = schema_of(row_type)
    rows = list(rows)
    columns = [pa.array([getattr(row, field.name) for row in rows], type=field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def rows_of(row_type: type[R], table: pa.Table) -> tuple[R, ...]:
    """Arrow table back to rows.

    Raises:
        RecordFormatError: If a column of the row type is missing.
    """
    schema = schema_of(row_type)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise RecordFormatError(
            f"Table for {row_type.__name__} lacks the columns {missing}; it has {table.column_names}.",
            fix="Materialize the asset that writes it again with this version of the package.",
        )
    columns = [table.column(name).to_pylist() for name in schema.names]
    lists = [index for index, field in enumerate(schema) if pa.types.is_list(field.type)]
    for index in lists:
        columns[index] = [tuple(value) for value in columns[index]]
    return tuple(row_type(*values) for values in zip(*columns, strict=True))


def save_record(record: Any, folder: str | Path | Location) -> None:
    """Write a record folder, replacing what was there only when all of it is written."""
    location = Location(folder)
    if location.is_remote:
        _publish(record, location)
        return
    filesystem, path = fsspec.core.url_to_fs(str(location))
    staged = f"{path}.{uuid.uuid4().hex}.staged"
    try:
        filesystem.makedirs(staged, exist_ok=True)
        _write(record, Location(staged))
        _swap(filesystem, staged, path)
    finally:
        if filesystem.exists(staged):
            filesystem.rm(staged, recursive=True)


def _swap(filesystem: Any, staged: str, path: str) -> None:
    """Put the staged folder in place of `path`; a failure puts back what was there."""
    if not filesystem.exists(path):
        filesystem.mv(staged, path, recursive=True)
        return
    replaced = f"{staged}.replaced"
    filesystem.mv(path, replaced, recursive=True)
    try:
        filesystem.mv(staged, path, recursive=True)
    except BaseException:
        filesystem.mv(replaced, path, recursive=True)
        raise
    filesystem.rm(replaced, recursive=True)


def _write(record: Any, folder: Location) -> None:
    for name, row_type in _row_types(type(record)).items():
        with (folder.path / f"{name}.parquet").open("wb") as file:
            _write_rows(file, row_type, getattr(record, name))
    (folder.path / _DOCUMENT).write_text(_document_text(record), encoding="utf-8")


def _publish(record: Any, folder: Location) -> None:
    """Tables under a new name, then the document that names them; what nothing names any more goes."""
    before = _published(folder)
    generation, tables = new_name(), _row_types(type(record))
    try:
        for name, row_type in tables.items():
            with (folder / generation / f"{name}.parquet").open_to_write() as file:
                _write_rows(file, row_type, getattr(record, name))
    except BaseException:
        (folder / generation).delete()
        raise
    pointer = {"generation": generation, "replaced": before.get("generation"), "tables": list(tables)}
    (folder / _DOCUMENT).write_text(_document_text(record, pointer))
    try:
        # A reader of the document before still finds its tables; those before them go.
        kept = {generation, before.get("generation")}
        for name in folder.folders():
            if name not in kept and (name == before.get("replaced") or is_abandoned(name)):
                (folder / name).delete()
    except OSError as problem:
        logger.warning("Old tables in %s cannot be deleted: %s", folder, problem)


def _published(folder: Location) -> Mapping[str, Any]:
    """The document that is there; an unreadable one names nothing."""
    try:
        return json.loads((folder / _DOCUMENT).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _write_rows(file: IO[bytes], row_type: type, rows: Iterable[Any]) -> None:
    with pq.ParquetWriter(file, schema_of(row_type)) as writer:
        for group in batches(rows, ROW_GROUP):
            writer.write_table(table_of(row_type, group))


def _document_text(record: Any, pointer: Mapping[str, Any] | None = None) -> str:
    tables = _row_types(type(record))
    plain = {name: _plain(getattr(record, name)) for name in _hints(type(record)) if name not in tables}
    document = {"type": type(record).__name__, **(pointer or {}), "fields": plain}
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=True)


def _plain(value: Any) -> Any:
    """Nested dataclasses and tuples as what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def find_record(record_type: type[R], folder: str | Path | Location) -> R | None:
    """As `load_record`; None when nothing is stored there."""
    try:
        return load_record(record_type, folder)
    except FileNotFoundError:
        return None


def load_record(record_type: type[R], folder: str | Path | Location) -> R:
    """Read a record folder written by `save_record`.

    Raises:
        FileNotFoundError: If nothing is stored there.
        RecordFormatError: If what is stored is of another type, or tables that it names are gone.
    """
    location = Location(folder)
    document = json.loads((location / _DOCUMENT).read_text())
    for _ in range(_READINGS):
        try:
            return _read(record_type, location, document)
        except FileNotFoundError as error:
            newer = json.loads((location / _DOCUMENT).read_text())
            if newer == document and "generation" not in document:
                raise
            if newer == document:
                raise RecordFormatError(
                    f"{location} lacks the table {error}.", fix="Materialize the asset that writes it again."
                ) from error
            document = newer
    raise RecordFormatError(f"{location} changes faster than it can be read.", fix="Run again when its writer is done.")


def _read(record_type: type[R], location: Location, document: Mapping[str, Any]) -> R:
    if document["type"] != record_type.__name__:
        raise RecordFormatError(
            f"{location} holds a {document['type']}, not a {record_type.__name__}.",
            fix="Materialize the asset that writes it again with this version of the package.",
        )
    generation, named = document.get("generation"), document.get("tables")
    folder = location / generation if generation else location
    values: dict[str, Any] = {}
    optional = {field.name for field in dataclasses.fields(record_type) if _has_default(field)}  # pyright: ignore[reportArgumentType]
    for name, annotation in _hints(record_type).items():
        if (row_type := _row_type(annotation)) is not None:
            place = folder / f"{name}.parquet"
            if name in optional and not (name in named if named is not None else place.is_file()):
                continue  # Written before the field was there; a folder is never half written.
            rows = StoredRows(_opened(place), functools.partial(rows_of, row_type))
            values[name] = rows if _is_lazy(annotation) else tuple(rows)
        elif name in document["fields"]:
            values[name] = from_plain(annotation, document["fields"][name])
    return record_type(**values)


def _opened(place: Location) -> pq.ParquetFile:
    """The file itself where it is local; one behind a URL is fetched as it is, compressed."""
    return pq.ParquetFile(pa.BufferReader(place.read_bytes()) if place.is_remote else place.path)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def from_plain(annotation: Any, value: Any) -> Any:
    """JSON value back to what the annotation says: nested dataclasses and tuples."""
    arguments = typing.get_args(annotation)
    if value is None:
        return None
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation,) = [argument for argument in arguments if argument is not type(None)]
        return from_plain(annotation, value)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        hints = _hints(annotation)
        return annotation(**{name: from_plain(hints[name], item) for name, item in value.items()})
    if typing.get_origin(annotation) is tuple and isinstance(value, list):
        item_type = arguments[0] if arguments else Any
        return tuple(from_plain(item_type, item) for item in value)
    return value
