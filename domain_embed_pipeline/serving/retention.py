"""Which model versions the collections need.

What belongs here: looking at collections for the registry's sake. What does not: which collections go (`alias.prune`),
which versions go (`registry.retention`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import ServingError
from domain_embed_pipeline.registry.retention import prune_versions
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.metadata import collection_names, read_metadata
from domain_embed_pipeline.serving.retries import RetryPolicy

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)


def prune_models(client: QdrantClient, registry: ModelRegistry, *, keep: int) -> tuple[str, ...]:
    """Delete model versions beyond those of the last `keep` trainings that no collection needs; returns their names.

    A model is only deleted when nothing in the store was encoded by it, live or not, whatever alias it belongs to: run
    it after `alias.prune`. When a collection cannot be read, nothing is deleted.
    """
    try:
        protected = models_in(client)
    except ServingError as error:
        logger.warning("No model version is pruned, since a collection does not say which it needs: %s", error)
        return ()
    return prune_versions(registry, protected=protected, keep=keep)


def models_in(client: QdrantClient, *, retries: RetryPolicy | None = None) -> frozenset[str]:
    """Model versions by which any collection of ours in the store was encoded."""
    retries = retries or RetryPolicy()
    found = (read_metadata(client, name, retries=retries) for name in collection_names(client, retries=retries))
    return frozenset(metadata.model_version for metadata in found if metadata is not None)
