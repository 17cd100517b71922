"""Dev retrieval as an evaluator of sentence-transformers' trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec
from domain_embed_pipeline.encoding.vectors import unit_length
from domain_embed_pipeline.errors import TrainingDivergedError
from domain_embed_pipeline.training.dev_set import DevGoal, score_vectors
from domain_embed_pipeline.training.rows import TrainingRow

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BEST_METRIC = "eval_dev_selection"
"""Chooses the checkpoint."""
_SAMPLE = 64


def sample_passages(rows: Sequence[TrainingRow]) -> list[str]:
    """At most 64 positives, evenly spaced over the rows: what collapse is watched on."""
    distinct = list(dict.fromkeys(row.positive for row in rows))
    step = max(1, len(distinct) // _SAMPLE)
    return distinct[::step][:_SAMPLE]


def mean_cosine(encoder: Encoder, passages: Sequence[str]) -> float:
    """Mean cosine over all pairs of different passages; NaN when a vector is not finite."""
    vectors = encoder.encode_passages(passages).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    count = len(vectors)
    if count < 2:
        return 0.0
    return float((np.square(vectors.sum(axis=0)).sum() - count) / (count * (count - 1)))


class DevMeter:
    """Measures a model in training as it will be used: with the spec's prompts, length and arithmetic."""

    def __init__(
        self, spec: EncoderSpec, goal: DevGoal | None, sample: Sequence[str], *, dimensions: Sequence[int] = ()
    ) -> None:
        """Measure with `spec` on `goal`, on the first `dimensions` of vectors too."""
        self._spec, self._goal, self._sample, self._dimensions = spec, goal, sample, dimensions

    def measure_space(self, model: SentenceTransformer) -> float:
        """Mean cosine between sample passages."""
        return DevMeter(self._spec, None, self._sample).measure(model)["dev_mean_cosine"]

    def measure(self, model: SentenceTransformer) -> dict[str, float]:
        """Metrics by name; `dev_mean_cosine` alone when there are no dev queries.

        Raises:
            TrainingDivergedError: If the model's vectors are not finite.
        """
        from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder

        training_length, was_training = model.max_seq_length, model.training
        try:
            encoder = SentenceTransformerEncoder(model, self._spec)
            metrics = {"dev_mean_cosine": mean_cosine(encoder, self._sample)}
            if not math.isfinite(metrics["dev_mean_cosine"]):
                raise TrainingDivergedError(
                    "The model in training gives vectors that are not finite.",
                    fix="Lower the learning rate, or set precision to float32.",
                )
            return metrics | self._retrieval(encoder)
        finally:
            model.max_seq_length = training_length
            model.train(was_training)

    def _retrieval(self, encoder: Encoder) -> dict[str, float]:
        if self._goal is None:
            return {}
        dev = self._goal.dev
        queries, passages = encoder.encode_queries(dev.queries), encoder.encode_passages(dev.passages)
        score = score_vectors(queries, passages, dev)
        gain, error = score.gain_over(self._goal.start)
        metrics = {f"dev_{name}": value for name, value in score.means().items()}
        for width in self._dimensions:
            narrow = score_vectors(_first(queries, width), _first(passages, width), dev)
            metrics[f"dev_recall_at_5_of_{width}"] = narrow.means()["recall_at_5"]
        return metrics | {"dev_gain": gain, "dev_gain_error": error}


def _first(vectors: np.ndarray, width: int) -> np.ndarray:
    """The first dimensions of vectors, at unit length."""
    return unit_length(vectors[:, :width])


def as_evaluator(meter: DevMeter) -> Any:
    """The meter as sentence-transformers' trainer calls it."""
    from sentence_transformers.base.evaluation import BaseEvaluator

    class DevRetrieval(BaseEvaluator):
        """The meter in the shape that the trainer wants."""

        primary_metric = "dev_selection"

        def __call__(
            self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
        ) -> dict[str, float]:
            return meter.measure(model)

    return DevRetrieval()
