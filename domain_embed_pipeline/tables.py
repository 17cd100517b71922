"""Records as Parquet: the schema of a row type comes from its annotations, in this one place.

A *record folder* holds one frozen dataclass: each field that is a tuple of row records becomes `<field>.parquet`, all
other fields go to `record.json`. Folders are staged beside their place and renamed, so a failed write leaves what was
there. Paths may be any fsspec URL.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
import uuid
from collections.abc import Iterable
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain_embed_pipeline.errors import DomainEmbedError

R = TypeVar("R")

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


class RecordFormatError(DomainEmbedError):
    """A stored record does not fit the type that is asked for."""


def _is_row_tuple(annotation: Any) -> bool:
    arguments = typing.get_args(annotation)
    return (
        typing.get_origin(annotation) is tuple
        and len(arguments) == 2
        and arguments[1] is Ellipsis
        and dataclasses.is_dataclass(arguments[0])
    )


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


def save_record(record: Any, folder: str) -> None:
    """Write a record folder, replacing what was there only when all of it is written."""
    filesystem, path = fsspec.core.url_to_fs(str(folder))
    staged = f"{path}.{uuid.uuid4().hex}.staged"
    try:
        filesystem.makedirs(staged, exist_ok=True)
        _write(record, filesystem, staged)
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


def _write(record: Any, filesystem: Any, folder: str) -> None:
    plain: dict[str, Any] = {}
    for name, annotation in _hints(type(record)).items():
        value = getattr(record, name)
        if _is_row_tuple(annotation):
            with filesystem.open(f"{folder}/{name}.parquet", "wb") as file:
                pq.write_table(table_of(typing.get_args(annotation)[0], value), file)
        else:
            plain[name] = _plain(value)
    document = {"type": type(record).__name__, "fields": plain}
    with filesystem.open(f"{folder}/record.json", "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=1, allow_nan=True)


def _plain(value: Any) -> Any:
    """Nested dataclasses and tuples as what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def load_record(record_type: type[R], folder: str) -> R:
    """Read a record folder written by `save_record`.

    Raises:
        FileNotFoundError: If nothing is stored there.
        RecordFormatError: If what is stored is of another type.
    """
    filesystem, path = fsspec.core.url_to_fs(str(folder))
    with filesystem.open(f"{path}/record.json", "r", encoding="utf-8") as file:
        document = json.load(file)
    if document["type"] != record_type.__name__:
        raise RecordFormatError(
            f"{folder} holds a {document['type']}, not a {record_type.__name__}.",
            fix="Materialize the asset that writes it again with this version of the package.",
        )
    values: dict[str, Any] = {}
    optional = {field.name for field in dataclasses.fields(record_type) if _has_default(field)}  # pyright: ignore[reportArgumentType]
    for name, annotation in _hints(record_type).items():
        if _is_row_tuple(annotation):
            if name in optional and not filesystem.exists(f"{path}/{name}.parquet"):
                continue  # Written before the field was there; a folder is never half written.
            with filesystem.open(f"{path}/{name}.parquet", "rb") as file:
                values[name] = rows_of(typing.get_args(annotation)[0], pq.read_table(file))
        elif name in document["fields"]:
            values[name] = from_plain(annotation, document["fields"][name])
    return record_type(**values)


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
