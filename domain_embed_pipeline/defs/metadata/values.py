"""Shapes of metadata that all groups share: tables, counts, samples, lineage."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from domain_embed_pipeline.registry.versions import ModelRegistry

Metadata = dict[str, Any]
SAMPLE_ROWS = 8


def table(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue | str:
    """Rows as a table of the UI; a line of text when there are none."""
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records) if records else "none"


def _cell(value: Any) -> Any:
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 4)
    return str(value)[:300]


def counts_by(values: Iterable[str]) -> list[dict[str, Any]]:
    """`value`, `count` rows, most frequent first."""
    return [{"value": value, "count": count} for value, count in Counter(values).most_common()]


def spread(rows: Sequence[Any]) -> Sequence[Any]:
    """Up to `SAMPLE_ROWS` rows from the whole length."""
    return rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]


def lineage_of(model_version: str, registry: ModelRegistry) -> str:
    """The version and those it was trained from, the youngest first."""
    return " < ".join([model_version, *registry.parents(model_version)])
