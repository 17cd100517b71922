"""Which model versions stay.

What belongs here: choosing and deleting. What does not: which versions some collection needs (`serving.retention`).
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Collection, Sequence

from domain_embed_pipeline.errors import RegistryError
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry

logger = logging.getLogger(__name__)

YOUNGEST = datetime.timedelta(days=1)
"""A run that is under way may still need what it has just made."""


def prune_versions(
    registry: ModelRegistry, *, protected: Collection[str], keep: int = 2, now: datetime.datetime | None = None
) -> tuple[str, ...]:
    """Delete versions that nobody needs, with their vectors; returns their names.

    Never deleted: base models, what is protected, every ancestor of what stays (blending and tracing need it), all
    versions of the newest training data and of the `keep` before it (the same run again finds them and trains
    nothing), and versions younger than a day.

    Args:
        registry: Where the versions are.
        protected: Versions that serve or that a rollback would serve.
        keep: Training data sets besides the newest whose versions stay.
        now: The time, for tests.

    Raises:
        RegistryError: If `keep` is negative.
    """
    if keep < 0:
        raise RegistryError(f"keep={keep} is negative.", fix="Keep 0 or more.")
    now = now or datetime.datetime.now(datetime.UTC)
    versions = registry.versions()
    recent = _newest_data(versions, keep + 1)
    kept = {
        version.model_version
        for version in versions
        if version.kind == "base"
        or version.model_version in protected
        or _data_of(version) in recent
        or _is_young(version, now)
    }
    kept |= {name for version in tuple(kept) for name in registry.ancestors(version)}
    deleted = [version for version in versions if version.model_version not in kept]
    for version in deleted:
        registry.delete(version.model_version)
        logger.info("Deleted model version %s: nothing serves it or was made from it", version.model_version)
    return tuple(version.model_version for version in deleted)


def _data_of(version: ModelVersion) -> tuple[str | None, ...]:
    """Versions of one run have the same."""
    return (version.corpus_version, version.pairs_version, version.evaluation_set_version)


def _newest_data(versions: Sequence[ModelVersion], count: int) -> set[tuple[str | None, ...]]:
    """The `count` training data sets that were trained on last; `versions` are oldest first."""
    latest: dict[tuple[str | None, ...], int] = {}
    for place, version in enumerate(versions):
        if version.kind != "base":
            latest[_data_of(version)] = place
    return set(sorted(latest, key=lambda data: latest[data], reverse=True)[:count])


def _is_young(version: ModelVersion, now: datetime.datetime) -> bool:
    created = datetime.datetime.fromisoformat(version.created_at) if version.created_at else now
    return now - created < YOUNGEST
