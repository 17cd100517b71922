"""Guard sets on disk: those that ship with the project and the user's own.

What belongs here: which sets there are. What does not: scores (`evaluation.guards`).
"""

from __future__ import annotations

from pathlib import Path

import domain_embed_pipeline
from domain_embed_pipeline.alternatives.judged_sets import load_judged_set
from domain_embed_pipeline.evaluation.guards import GuardSet

SHIPPED_FOLDER = Path(domain_embed_pipeline.__file__).resolve().parent.parent / "data" / "guards"


def load_guard_sets(locations: str | None = None) -> tuple[GuardSet, ...]:
    """Guard sets by name.

    Args:
        locations: Folders in BEIR layout, separated by commas; `none` for no guard set at all. When not given, the
            sets that ship with the project (nothing where it is installed without its `data` folder).

    Raises:
        CorpusError: If a folder has no readable `corpus.jsonl`.
        EvaluationSetError: If its queries or judgments are unusable.
    """
    return tuple(_load(folder) for folder in guard_folders(locations))


def guard_folders(locations: str | None = None) -> list[str]:
    """Folders of the guard sets; arguments of `load_guard_sets`."""
    if locations is None or not locations.strip():
        return sorted(str(path.parent) for path in SHIPPED_FOLDER.glob("*/corpus.jsonl"))
    if locations.strip().lower() == "none":
        return []
    return [folder.strip() for folder in locations.split(",") if folder.strip()]


def _load(folder: str) -> GuardSet:
    # A guard set is small on purpose, nothing is chosen on it, and its figures stand beside their intervals.
    corpus, queries = load_judged_set(folder, needed_splits=())
    return GuardSet(folder.rstrip("/").rpartition("/")[2], corpus, queries)
