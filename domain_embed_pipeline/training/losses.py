"""The loss of a stage, by settings: MultipleNegativesRankingLoss; in bounded memory, guided, in several dimensions.

How a batch goes through the model is `slices`' business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.training.distributed import is_distributed
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline.training.slices import CPU_SLICE, GPU_SLICE, SlicePlan, sliced_ranking_loss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LossMaker:
    """Makes the loss of a stage, and makes it again with a smaller mini-batch when memory runs out."""

    def __init__(
        self, settings: TrainingSettings, *, negative_count: int, dimension: int, sibling_count: int = 0
    ) -> None:
        """Check that the settings fit the rows and the model.

        Raises:
            ConfigurationError: If a guide is given rows of several negatives or anchors, or a dimension is not the
                model's.
        """
        if settings.guide_model is not None and negative_count > 1:
            raise ConfigurationError(
                f"The guided loss takes one mined negative a row, not {negative_count}.",
                fix="Set negatives_per_pair to 1, or leave guide_model empty.",
            )
        if settings.guide_model is not None and sibling_count:
            raise ConfigurationError(
                f"The guided loss takes one anchor a row, not {sibling_count + 1}.",
                fix="Set anchors_per_row to 1, or leave guide_model empty.",
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

        if self._settings.guide_model is not None:
            return self._guided(model, mini_batch_size)
        directions = ("query_to_doc", "doc_to_query") if self._settings.symmetric else ("query_to_doc",)
        ranking = losses.MultipleNegativesRankingLoss(
            model, scale=self._settings.scale, directions=directions, gather_across_devices=is_distributed()
        )
        plan = SlicePlan(
            tokens=GPU_SLICE if model.device.type == "cuda" else CPU_SLICE,
            texts=mini_batch_size,
            siblings=self._siblings,
            widths=(self._dimension, *self._settings.matryoshka_dimensions),
        )
        return sliced_ranking_loss(model, ranking, plan)

    def _guided(self, model: SentenceTransformer, mini_batch_size: int | None) -> Any:
        from sentence_transformers.sentence_transformer import losses

        options: dict[str, Any] = {} if mini_batch_size is None else {"mini_batch_size": mini_batch_size}
        loss = (losses.GISTEmbedLoss if mini_batch_size is None else losses.CachedGISTEmbedLoss)(
            model,
            guide=self._guide_on(model),
            temperature=1 / self._settings.scale,
            contrast_anchors=False,
            contrast_positives=self._settings.symmetric,
            gather_across_devices=is_distributed(),
            **options,
        )
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
