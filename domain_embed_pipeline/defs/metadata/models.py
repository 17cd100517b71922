"""Metadata of the group `models`."""

import base64
import io
from collections.abc import Sequence

import dagster as dg

from domain_embed_pipeline.defs.metadata.values import Metadata, lineage_of, spread, table
from domain_embed_pipeline.registry.manifest import HistoryPoint, ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.training.negatives import HardNegatives
from domain_embed_pipeline.training.stages import CandidateResult


def of_model(version: ModelVersion) -> Metadata:
    """What was trained, from what, with what curve."""
    settings = version.settings
    return {
        "model_version": version.model_version,
        "parent_model_version": version.parent_model_version or "none",
        "kind": version.kind,
        "base_model": version.base_model,
        "row_count": version.row_count,
        "learning_rate": float(settings.get("learning_rate") or 0.0),
        "total_steps": int(settings.get("total_steps") or 0),
        "best_step": int(settings.get("best_step") or 0),
        "training_duration_s": float(version.duration_s),
        **{f"dev_{name}": float(value) for name, value in version.dev_metrics.items()},
        "curves": dg.MetadataValue.md(_curves(version.history)) if version.history else "none",
    }


def of_negatives(negatives: HardNegatives) -> Metadata:
    """How many, how hard, what each guard excluded, samples."""
    return {
        "negatives_version": negatives.negatives_version,
        "model_version": negatives.model_version,
        "negative_count": len(negatives.negatives),
        "anchor_count": negatives.anchor_count,
        "anchors_without_negative": negatives.anchors_without_negative,
        "positive_score_median": float(negatives.positive_score_median),
        "negative_score_median": float(negatives.negative_score_median),
        "negative_score_p95": float(negatives.negative_score_p95),
        "excluded": table({"guard": row.guard, "count": row.count} for row in negatives.excluded),
        "sample_negatives": table(
            {"anchor": row.anchor, "positive": row.positive, "negative": row.negative, "rank": row.rank}
            for row in spread(negatives.negatives)
        ),
    }


def of_candidate(candidate: CandidateResult, registry: ModelRegistry) -> Metadata:
    """Which contender won on dev, and its lineage."""
    version = candidate.version
    return of_model(version) | {
        "reason": candidate.reason,
        "lineage": lineage_of(version.model_version, registry),
        "contenders": table(
            {"model_version": row.model_version, "kind": row.kind, "dev_recall_at_5": row.dev_recall_at_5,
             "dev_ndcg_at_10": row.dev_ndcg_at_10, "guard_ndcg_at_10": row.guard_ndcg_at_10 or "",
             "behind_best": row.difference_from_best,
             "standard_error": row.standard_error, "chosen": row.chosen}
            for row in candidate.contenders
        ),
    }  # fmt: skip


def _curves(history: Sequence[HistoryPoint]) -> str:
    """Loss, and Recall@5 on dev, over steps: a picture in Markdown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(point.step, point.loss) for point in history if point.loss is not None]
    recalls = [(point.step, point.dev_recall_at_5) for point in history if point.dev_recall_at_5 is not None]
    for axes, points, title in ((left, losses, "training loss"), (right, recalls, "dev Recall@5")):
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3) if points else None
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return f"![curves](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
