"""The loss of a stage, by settings: MultipleNegativesRankingLoss, plain or with cached gradients.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983: the cached
form gives the same gradients with the memory of a mini-batch. With dropout its masks are drawn mini-batch by
mini-batch, so that two divisions of one batch are alike, not equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.training.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def make_loss(model: SentenceTransformer, settings: TrainingSettings, *, mini_batch_size: int | None) -> Any:
    """The loss over batches of `settings.batch_size`, computed `mini_batch_size` texts at a time when that is given."""
    from sentence_transformers.sentence_transformer import losses

    directions = ("query_to_doc", "doc_to_query") if settings.symmetric else ("query_to_doc",)
    if mini_batch_size is None:
        return losses.MultipleNegativesRankingLoss(model, scale=settings.scale, directions=directions)
    return losses.CachedMultipleNegativesRankingLoss(
        model, scale=settings.scale, directions=directions, mini_batch_size=mini_batch_size
    )
