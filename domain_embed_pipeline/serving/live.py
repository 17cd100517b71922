"""What is live: the collection behind the alias, and its model on the test queries.

What belongs here: looking at what serves. What does not: moving the alias (`alias`), the verdict (`evaluation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import ServingError
from domain_embed_pipeline.evaluation.evaluate import EvaluationSettings, evaluate_model
from domain_embed_pipeline.evaluation.records import Evaluation
from domain_embed_pipeline.records import Corpus, EvaluationSet
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.alias import current_target
from domain_embed_pipeline.serving.metadata import CollectionMetadata, read_metadata
from domain_embed_pipeline.serving.records import ServingCollection
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import QdrantSettings, open_store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


@dataclass(frozen=True, slots=True)
class ServingEvaluation:
    """What the alias pointed at when it was looked at, and how that does on the test queries."""

    collection: str | None
    """None before the first swap. A later swap is refused when the alias points elsewhere by then."""
    evaluation: Evaluation | None

    def to_beat(self, candidate: Evaluation) -> Evaluation | None:
        """What the candidate is compared with; None when nothing is live, or the candidate itself is."""
        live = self.evaluation
        if live is not None and (live.model_version, live.mode) == (candidate.model_version, candidate.mode):
            return None
        return live

    def require_live(self) -> Evaluation:
        """The evaluation of what serves.

        Raises:
            ServingError: If nothing does.
        """
        if self.evaluation is None:
            raise ServingError("Nothing is live yet.", fix="Run retrain_and_promote_job first.")
        return self.evaluation

    def serves(self, collection: ServingCollection) -> bool:
        """Whether a collection has the model and the retrieval mode that readers get already."""
        live = self.evaluation
        return live is not None and (live.model_version, live.mode) == (collection.model_version, collection.mode)


def live_collection(client: QdrantClient, alias: str) -> CollectionMetadata | None:
    """Metadata of the collection behind the alias; None when there is none, or it is not ours."""
    retries = RetryPolicy()
    collection = current_target(client, alias, retries=retries)
    return read_metadata(client, collection, retries=retries) if collection is not None else None


def evaluate_serving(
    settings: QdrantSettings,
    alias: str,
    *,
    registry: ModelRegistry,
    corpus: Corpus,
    evaluation_set: EvaluationSet,
    clusters: Mapping[str, str],
) -> ServingEvaluation:
    """The live model, in the live retrieval mode, on the test queries over the corpus as it is now.

    Raises:
        ModelVersionNotFoundError: If the registry lacks the model that the live collection names.
    """
    with open_store(settings) as client:
        collection = current_target(client, alias)
        live = live_collection(client, alias)
    if live is None:
        return ServingEvaluation(collection, None)
    evaluation = evaluate_model(
        registry.encoder(live.model_version),
        corpus=corpus,
        evaluation_set=evaluation_set,
        split="test",
        clusters=clusters,
        settings=EvaluationSettings(mode=live.mode),
    )
    return ServingEvaluation(collection, evaluation)
