"""Going back to an earlier collection, and writing it down.

What belongs here: the one way that the command line and the UI's job take. What does not: the move itself (`alias`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.registry.lineage import LineageLog
from domain_embed_pipeline.serving.alias import rollback
from domain_embed_pipeline.serving.records import AliasSwap

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def go_back(
    client: QdrantClient, alias: str, to: str | None = None, *, reason: str, lineage: LineageLog, lock_folder: Path
) -> AliasSwap:
    """Point the alias at what it pointed at before, or at `to`, and record it.

    The lineage is written after the move: a rollback must not wait for a full disk.

    Args:
        client: Open store.
        alias: What readers query.
        to: Model version or collection; the one before when not given.
        reason: Why; it is kept for ever.
        lineage: Where it is recorded.
        lock_folder: Where the alias lock lies.

    Raises:
        ConfigurationError: If the reason is blank.
        ServingError: If there is nothing to go back to, or it is not a complete collection of ours.
    """
    if not reason.strip():
        raise ConfigurationError("The reason for the rollback is blank.", fix="Say why, in words.")
    swap = rollback(client, alias, to, lock_folder=lock_folder)
    if swap.swapped:
        lineage.record(
            "rollback",
            alias=alias,
            model_version=swap.model_version,
            collection=swap.collection,
            previous_collection=swap.previous_collection,
            reason=reason,
        )
    return swap
