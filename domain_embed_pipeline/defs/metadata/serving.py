"""Metadata of the group `serving`."""

from domain_embed_pipeline.defs.metadata.values import Metadata, lineage_of, table
from domain_embed_pipeline.drops.releasing import CaughtUpRelease
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.records import AliasSwap, ServingCollection


def of_collection(collection: ServingCollection) -> Metadata:
    """Size and every check."""
    return {
        "collection": collection.collection,
        "model_version": collection.model_version,
        "corpus_version": collection.corpus_version,
        "point_count": collection.point_count,
        "uploaded_count": collection.uploaded_count,
        "removed_count": collection.removed_count,
        "verified": collection.verified,
        "build_duration_s": float(collection.duration_s),
        "checks": table(
            {"check": check.name, "passed": check.passed, "vacuous": check.vacuous, "detail": check.detail}
            for check in collection.checks
        ),
    }


def of_release(release: CaughtUpRelease, registry: ModelRegistry) -> Metadata:
    """As a swap, with what was caught up around it."""
    return of_swap(release.swap, registry) | {
        "caught_up_added": release.added,
        "caught_up_changed": release.changed,
        "caught_up_deleted": release.deleted,
    }


def of_swap(swap: AliasSwap, registry: ModelRegistry) -> Metadata:
    """Where the alias points, since when, and the model's lineage."""
    return {
        "alias": swap.alias,
        "collection": swap.collection,
        "previous_collection": swap.previous_collection or "none",
        "model_version": swap.model_version,
        "lineage": lineage_of(swap.model_version, registry),
        "swapped": swap.swapped,
        "reason": swap.reason,
        "swap_duration_s": float(swap.duration_s),
    }
