"""Markdown of the reference pages: tables, and what a pydantic field says about itself."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars and line breaks in cells are escaped."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def first_sentence(docstring: str | None) -> str:
    """What a docstring says before its first full stop at a sentence's end."""
    text = " ".join((docstring or "").split())
    head, stop, _ = text.partition(". ")
    return head + "." if stop else text


def type_name(annotation: Any) -> str:
    """A type as a reader would write it: `str`, `int or none`, `auto, direct or batch`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in arguments)
    if origin in (list, tuple):
        return f"list of {type_name(arguments[0])}"
    if annotation is type(None):
        return "none"
    return {"SecretStr": "secret"}.get(annotation.__name__, annotation.__name__)


def bounds(field: FieldInfo) -> str:
    """`≥ 1, < 8`, or nothing."""
    found = []
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge(ge=limit):
                found.append(f"≥ {limit}")
            case annotated_types.Gt(gt=limit):
                found.append(f"> {limit}")
            case annotated_types.Le(le=limit):
                found.append(f"≤ {limit}")
            case annotated_types.Lt(lt=limit):
                found.append(f"< {limit}")
            case _ if getattr(rule, "pattern", None):
                found.append(f"`{rule.pattern}`")
    return ", ".join(found)


def default(field: FieldInfo, *, root: Path | None = None) -> str:
    """The default as one would type it; empty for none."""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return ""
    text = str(value)
    return f"`{text.removeprefix(f'{root}/') if root else text}`" if text else '`""`'
