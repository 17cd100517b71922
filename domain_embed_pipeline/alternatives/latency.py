"""How long one query takes, measured once for each encoder on this machine.

What belongs here: measuring and remembering. What does not: the table that shows it (`evaluation.comparators`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.comparators import query_latency_ms

SAMPLE = 15
"""Queries that are timed: enough for a median, few enough to cost nothing."""


def measure_latency_ms(encoder: Encoder, queries: Sequence[str], *, sample: int = SAMPLE) -> float:
    """Median milliseconds from the text of one query to its vector.

    Args:
        encoder: Without a cache, which would answer in its place.
        queries: Texts; at most `sample` of them, from the whole length, are used.
        sample: How many are timed.

    Raises:
        EvaluationError: If there is no query.
    """
    step = max(1, len(queries) // sample)
    return query_latency_ms(lambda text: encoder.encode_queries([text]), queries[::step][:sample])


def remembered_latency_ms(folder: Path, fingerprint: str, measure: Callable[[], float]) -> float:
    """A latency that was measured before under this name, else the one that `measure` finds.

    A second run need not load a model only to time it. The file goes with the artifacts: remove it on another machine.
    """
    path = folder / f"{fingerprint}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["latency_ms"])
    except (FileNotFoundError, ValueError, KeyError):
        latency = measure()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"latency_ms": latency}), encoding="utf-8")
    return latency
