"""Cross-encoders by name: the slow second look that reads query and passage together.

What belongs here: finding, loading and scoring. What does not: what reordering does to a ranking
(`evaluation.reranking`).
"""

from __future__ import annotations

from collections.abc import Sequence

from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.hardware import choose_device


class Reranker:
    """Scores pairs of query and passage; remote code off, safetensors only."""

    def __init__(self, name: str) -> None:
        """Load a cross-encoder by folder, package or hub name.

        Raises:
            BaseModelNotFoundError: If nobody has it.
        """
        from sentence_transformers import CrossEncoder

        self.name = name
        self._model = CrossEncoder(
            resolve_base_model(name).folder,
            num_labels=1,
            device=choose_device(),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )

    def score(self, pairs: list[tuple[str, str]]) -> Sequence[float]:
        """Relevance of each (query, passage); larger is better."""
        if not pairs:
            return []
        return self._model.predict(pairs, show_progress_bar=False).tolist()
