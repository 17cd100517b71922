"""A batch through the model in slices of like length, with the loss of the whole batch.

All texts of a batch (anchors, positives, negatives, further anchors) are sorted by length and go through the model in
slices of a number of tokens. Hardly any padding is computed, and on a CPU the activations stay in the cache. The
embeddings are put back into their columns before the loss sees them: in-batch negatives are those of the batch.

When memory is short, a slice forgets its activations and computes them again in the backward pass, with the same
dropout masks (torch's checkpointing): a batch of any size then needs the memory of one slice. That is the arithmetic of
Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983, at the same
price of one more forward pass. Dropout masks are drawn slice by slice: two divisions of one batch are alike, not equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.batching import Features, rows_of, rows_of_tokens, token_lengths

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

CPU_SLICE = 2_048
"""Tokens a slice on a CPU. Each slice adds a gradient of all word embeddings, so that smaller ones cost more."""
GPU_SLICE = 32_768


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """How a batch is cut, and what the loss makes of its embeddings."""

    tokens: int
    """Most tokens a slice."""
    texts: int | None = None
    """Most texts a slice; when given, activations are computed again in the backward pass."""
    siblings: int = 0
    """Last columns that are anchors too. The loss is the mean over all anchors of a row: that of as many batches with
    the same passages, which are encoded once."""
    widths: tuple[int, ...] = ()
    """Numbers of first dimensions whose losses are added up (Matryoshka, arXiv 2205.13147); empty for all at once."""


def sliced_ranking_loss(model: SentenceTransformer, ranking_loss: Any, plan: SlicePlan) -> Any:
    """A MultipleNegativesRankingLoss whose batches go through the model in slices.

    Args:
        model: What is trained.
        ranking_loss: Has `compute_loss_from_embeddings`; the first column are anchors, the others passages.
        plan: How to cut.
    """
    import torch

    class SlicedRankingLoss(torch.nn.Module):
        """Mean of the ranking loss over the anchor and its siblings, for every width."""

        def __init__(self) -> None:
            super().__init__()
            # The trainer puts the wrapped model (several processes) into every attribute of this name.
            self.model = model
            self.ranking_loss = ranking_loss

        def forward(self, sentence_features: Any, labels: Any) -> Any:
            """Loss of one batch, a scalar; columns are anchor, passages, siblings."""
            columns = embedded_columns(self.model, list(sentence_features), plan)
            anchor, *others = columns
            passages, siblings = others[: len(others) - plan.siblings], others[len(others) - plan.siblings :]
            losses = [self._ranked([one, *passages], labels) for one in (anchor, *siblings)]
            return torch.stack(losses).mean()

        def _ranked(self, embeddings: list[torch.Tensor], labels: Any) -> torch.Tensor:
            widths = plan.widths or (embeddings[0].shape[1],)
            narrow = [[embedding[:, :width] for embedding in embeddings] for width in widths]
            return torch.stack([self.ranking_loss.compute_loss_from_embeddings(part, labels) for part in narrow]).sum()

    return SlicedRankingLoss()


def embedded_columns(model: torch.nn.Module, columns: Sequence[Features], plan: SlicePlan) -> list[torch.Tensor]:
    """Embeddings of each column, shape (rows, dimension); columns that differ in more than texts are cut apart."""
    from sentence_transformers.base.losses.merged_forward import merge_feature_batches

    merged = merge_feature_batches(list(columns))
    if merged is None:
        return [_embedded(model, features, plan) for features in columns]
    return list(_embedded(model, merged, plan).chunk(len(columns)))


def _embedded(model: torch.nn.Module, features: Features, plan: SlicePlan) -> torch.Tensor:
    import torch

    lengths = token_lengths(features)
    if lengths is None:
        return model(features)["sentence_embedding"]
    slices = rows_of_tokens(lengths, plan.tokens, most_rows=plan.texts)
    parts = [_one_slice(model, rows_of(features, rows, lengths[rows[0]]), plan) for rows in slices]
    places = torch.tensor([row for rows in slices for row in rows], device=parts[0].device)
    return torch.cat(parts)[torch.argsort(places)]


def _one_slice(model: torch.nn.Module, features: Features, plan: SlicePlan) -> torch.Tensor:
    import torch
    from torch.utils.checkpoint import checkpoint

    if plan.texts is None or not torch.is_grad_enabled():
        return model(features)["sentence_embedding"]
    # Computed again inside the backward pass, a wrapped model would take that for the next step: its inner one is used.
    models = iter((model, *[getattr(model, "module", model)] * 2))

    def embed() -> torch.Tensor:
        """Embeddings of the slice, shape (rows, dimension)."""
        # A copy: modules write what they found into the features.
        return next(models)(dict(features))["sentence_embedding"]

    return checkpoint(embed, use_reentrant=False)  # pyright: ignore[reportReturnType]
