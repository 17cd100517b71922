"""The loss of a stage, by settings: MultipleNegativesRankingLoss; in bounded memory, guided, in several dimensions.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983: the cached
form gives the same gradients with the memory of a mini-batch. With dropout its masks are drawn mini-batch by
mini-batch, so that two divisions of one batch are alike, not equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import ConfigurationError, TrainingMemoryError
from domain_embed_pipeline.training.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LossMaker:
    """Makes the loss of a stage, and makes it again with a smaller mini-batch when memory runs out."""

    def __init__(
        self, settings: TrainingSettings, *, negative_count: int, dimension: int, sibling_count: int = 0
    ) -> None:
        """Check that the settings fit the rows and the model.

        Raises:
            ConfigurationError: If a guide is to mask several negatives a row, or a dimension is not the model's.
        """
        if settings.guide_model is not None and negative_count > 1:
            raise ConfigurationError(
                f"The guided loss takes one mined negative a row, not {negative_count}.",
                fix="Set negatives_per_pair to 1, or leave guide_model empty.",
            )
        beyond = [width for width in settings.matryoshka_dimensions if not 0 < width < dimension]
        if beyond:
            raise ConfigurationError(
                f"Matryoshka dimensions {beyond} are not inside the model's {dimension}.",
                fix=f"Use numbers from 1 to {dimension - 1}.",
            )
        self._settings, self._dimension, self._siblings = settings, dimension, sibling_count
        self._guide: SentenceTransformer | None = None

    def make(self, model: SentenceTransformer, *, mini_batch_size: int | None) -> Any:
        """The loss over whole batches, computed `mini_batch_size` texts at a time when that is given."""
        from sentence_transformers.sentence_transformer import losses

        options: dict[str, Any] = {} if mini_batch_size is None else {"mini_batch_size": mini_batch_size}
        cached = mini_batch_size is not None
        if self._siblings and (cached or self._settings.guide_model is not None):
            raise TrainingMemoryError(
                f"Rows of {self._siblings + 1} anchors have no loss that is computed in mini-batches or guided.",
                fix="Set anchors_per_row to 1, or a smaller batch_size.",
            )
        if self._settings.guide_model is not None:
            kind = losses.CachedGISTEmbedLoss if cached else losses.GISTEmbedLoss
            options |= {"guide": self._guide_on(model), "temperature": 1 / self._settings.scale}
            loss = kind(model, contrast_anchors=False, contrast_positives=self._settings.symmetric, **options)
        else:
            kind = losses.CachedMultipleNegativesRankingLoss if cached else losses.MultipleNegativesRankingLoss
            directions = ("query_to_doc", "doc_to_query") if self._settings.symmetric else ("query_to_doc",)
            loss = kind(model, scale=self._settings.scale, directions=directions, **options)
        if self._siblings:
            loss = shared_positive_loss(model, loss, sibling_count=self._siblings)
        if self._settings.matryoshka_dimensions:
            widths = [self._dimension, *self._settings.matryoshka_dimensions]
            loss = losses.MatryoshkaLoss(model, loss, matryoshka_dims=widths)
        return loss

    def _guide_on(self, model: SentenceTransformer) -> SentenceTransformer:
        from domain_embed_pipeline.encoding.base_models import resolve_base_model
        from domain_embed_pipeline.encoding.sentence_transformer import load_model

        assert self._settings.guide_model is not None
        if self._guide is None:
            base = resolve_base_model(self._settings.guide_model)
            self._guide = load_model(base.folder, device=str(model.device))
        return self._guide


def shared_positive_loss(model: SentenceTransformer, ranking_loss: Any, *, sibling_count: int) -> Any:
    """The mean of a MultipleNegativesRankingLoss over several anchors of each positive.

    The last `sibling_count` columns are anchors too. The loss is that of `sibling_count + 1` batches with the same
    passages, which are encoded once: passages are long and anchors short, so a step costs little more than with one.
    """
    import torch
    from sentence_transformers.base.losses.merged_forward import embed_columns

    class SharedPositiveLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.ranking_loss = ranking_loss

        def forward(self, sentence_features: Any, labels: Any) -> Any:
            first, *others = sentence_features
            # Columns of like width share a forward pass; merged with passages, anchors would be padded to their length.
            anchors = embed_columns(self.model, [first, *others[-sibling_count:]], separate_first=False)
            passages = embed_columns(self.model, others[:-sibling_count], separate_first=False)
            losses = [self.ranking_loss.compute_loss_from_embeddings([anchor, *passages], labels) for anchor in anchors]
            return torch.stack(losses).mean()

    return SharedPositiveLoss()
