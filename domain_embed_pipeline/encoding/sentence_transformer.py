"""Encoders backed by sentence-transformers models."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.batching import Batch, feature_batches, split
from domain_embed_pipeline.encoding.cores import each_on_a_core
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.encoding.hardware import choose_device, choose_dtype, is_out_of_memory
from domain_embed_pipeline.encoding.spec import EncoderSpec, Side, SidedEncoder

if TYPE_CHECKING:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

CPU_TOKENS = 1_024
"""Tokens a batch on a CPU: its activations stay in the cache."""
GPU_TOKENS = 65_536
"""Tokens a batch on a GPU; halved when memory runs out."""
_SHARED_OUT = 32
"""Texts from which on a CPU's cores each take batches of their own; starting threads takes longer than a query."""


def load_model(folder: str, *, device: str | None = None, max_length: int | None = None) -> SentenceTransformer:
    """Load a model folder in float32; remote code off, safetensors only.

    Args:
        folder: A folder that sentence-transformers saved.
        device: Torch device; chosen by hardware when not given.
        max_length: Tokens after which texts are cut; the model's own length when not given.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    model = SentenceTransformer(
        folder,
        device=device or choose_device(),
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True},
    )
    # A card that is written with the weights looks for its base model on the hub, and encodes examples.
    model.model_card_data.local_files_only = True
    model.model_card_data.generate_widget_examples = False
    if max_length is not None:
        model.max_seq_length = min(max_length, model.max_seq_length or max_length)
    return model


def describe_encoder(
    model: SentenceTransformer, folder: str, *, model_version: str, query_prompt: str, passage_prompt: str
) -> EncoderSpec:
    """Spec of a loaded model whose files are in `folder`, with the arithmetic of this machine."""
    dimension = model.get_embedding_dimension()
    assert dimension is not None
    spec = EncoderSpec(
        model_version=model_version,
        fingerprint="",
        dimension=dimension,
        max_length=int(model.max_seq_length or 512),
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
        normalize=True,
        dtype=choose_dtype(str(model.device)),
    )
    return fingerprinted(spec, weights=folder_digest(folder))


class SentenceTransformerEncoder(SidedEncoder):
    """Applies one spec with a model that is in memory. The model is copied when its dtype has to change."""

    def __init__(self, model: SentenceTransformer, spec: EncoderSpec) -> None:
        import copy

        import torch

        super().__init__(spec)
        wanted = getattr(torch, spec.dtype)
        if model.dtype != wanted:
            model = copy.deepcopy(model).to(wanted)
        model.max_seq_length = spec.max_length
        self._model = model.eval()
        self._budget = GPU_TOKENS if model.device.type == "cuda" else CPU_TOKENS

    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        import numpy as np
        import torch

        vectors = np.zeros((len(texts), self._spec.dimension), dtype=np.float32)
        if not texts:
            return vectors
        prompt = self._spec.prompt_of(side)

        def fill(batch: Batch) -> None:
            """Compute the vectors of a batch into their rows."""
            with torch.inference_mode():  # of this thread alone
                for rows, found in self._forward(batch):
                    vectors[rows] = finished(found, self._spec).cpu().numpy()

        # An empty prompt, not None: with None the model's own default prompt would be used.
        batches = feature_batches(
            texts, lambda block: self._model.preprocess(block, prompt=prompt), lambda: self._budget
        )
        if self._model.device.type == "cpu" and len(texts) >= _SHARED_OUT:
            each_on_a_core(fill, batches)
        else:
            for batch in batches:
                fill(batch)
        return vectors

    def _forward(self, batch: Batch) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Rows with their vectors; a batch that memory does not hold is computed in halves."""
        found = None if batch.tokens > self._budget and batch.is_divisible else self._computed(batch)
        if found is not None:
            yield batch.rows, found
            return
        for part in split(batch):
            yield from self._forward(part)

    def _computed(self, batch: Batch) -> torch.Tensor | None:
        """Vectors of a batch; None when memory ran out: later batches are then of half the tokens."""
        import torch
        from sentence_transformers.util import batch_to_device

        try:
            # A copy: modules write what they found into the features.
            return self._model(batch_to_device(dict(batch.features), self._model.device))["sentence_embedding"]
        except RuntimeError as error:
            if not batch.is_divisible or not is_out_of_memory(error):
                raise
        # Outside the except block, where the traceback would keep the failed pass's tensors alive.
        self._budget = max(1, min(self._budget, batch.tokens) // 2)
        logger.warning("Memory ran out while encoding; batches of %d tokens from now on.", self._budget)
        torch.cuda.empty_cache()
        return None


def finished(vectors: torch.Tensor, spec: EncoderSpec) -> torch.Tensor:
    """A model's vectors in float32, with the spec's dimensions, at unit length when it says so."""
    import torch

    # A spec may be narrower than its model, when that was trained for it (Matryoshka).
    vectors = vectors.to(dtype=torch.float32)[:, : spec.dimension]
    return torch.nn.functional.normalize(vectors, dim=1) if spec.normalize else vectors


def load_encoder(folder: str, spec: EncoderSpec) -> SentenceTransformerEncoder:
    """Encoder of a stored model version."""
    logger.info("Loading %s from %s.", spec.model_version, folder)
    return SentenceTransformerEncoder(load_model(folder, max_length=spec.max_length), spec)
