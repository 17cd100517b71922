"""What is live, in one record: for `domain-embed status` and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain_embed_pipeline.corpus.changes import compare_corpora
from domain_embed_pipeline.errors import CorpusError
from domain_embed_pipeline.evaluation.records import RECALL_KS, Comparison, Evaluation, QueryResult, means
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.serving.live import live_collection
from domain_embed_pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CorpusDrift:
    """Documents on disk against those of the last materialization."""

    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class Status:
    """What readers get now."""

    alias: str
    collection: str | None
    model_version: str | None
    parents: tuple[str, ...]
    retrieval_mode: str | None
    corpus_version: str | None
    point_count: int
    live_since: str | None
    age_days: float | None
    recall: dict[str, float]
    """Recall@k of the live model, dense only, when the last evaluated candidate is the live one."""
    served_recall: dict[str, float]
    drift: CorpusDrift | None
    """None when the corpus cannot be read, was never materialized, or was not looked at."""
    base_can_serve: bool = False
    """Whether nothing is live and a candidate was judged: the base model may serve until one is better."""

    def lines(self) -> list[str]:
        """For a person."""
        if self.collection is None:
            nothing = f"Nothing is live behind the alias {self.alias}."
            if self.base_can_serve:
                return [nothing, "Serve the base model meanwhile: domain-embed run --job serve_base_job"]
            return [nothing, "Start with: domain-embed run"]
        figures = ", ".join(
            f"{name.replace('recall_at_', 'Recall@')} {value:.3f}" for name, value in self.recall.items()
        )
        lines = [
            f"alias       {self.alias} -> {self.collection}",
            f"model       {self.model_version} < {' < '.join(self.parents)}",
            f"mode        {self.retrieval_mode}, {self.point_count} chunks of {self.corpus_version}",
            f"live since  {self.live_since} ({self.age_days:.1f} days)"
            if self.age_days is not None
            else "live since  ?",
            f"test        {figures or 'not measured by the last run'}",
        ]
        if self.drift is not None:
            drift = self.drift
            lines.append(f"corpus      {drift.added} added, {drift.changed} changed, {drift.removed} removed since")
        return lines


def read_status(workspace: Workspace, *, with_drift: bool = True) -> Status:
    """Look at the store, the registry, the last evaluation and the corpus on disk.

    Args:
        workspace: Stores of the deployment.
        with_drift: Whether the corpus is read again to see what changed since, which takes as long as reading it.
    """
    alias = workspace.settings.serving_alias
    live = None
    if workspace.settings.qdrant_url is not None or Path(workspace.settings.qdrant_path).exists():
        with workspace.open_store() as client:
            live = live_collection(client, alias)
    drift = _drift(workspace) if with_drift else None
    if live is None:
        was_judged = workspace.stored(Comparison, "model_comparison") is not None
        return Status(alias, None, None, (), None, None, 0, None, None, {}, {}, drift, base_can_serve=was_judged)
    evaluation = workspace.stored(Evaluation, "finetuned_evaluation")
    judged = evaluation if evaluation and evaluation.model_version == live.model_version else None
    return Status(
        alias=alias,
        collection=live.collection,
        model_version=live.model_version,
        parents=tuple(workspace.registry.parents(live.model_version)),
        retrieval_mode=live.mode.kind,
        corpus_version=live.content_version or live.corpus_version,
        point_count=live.point_count,
        live_since=live.live_since,
        age_days=_age_days(live.live_since),
        recall=_recall(judged.query_results) if judged else {},
        served_recall=_recall(judged.served_query_results) if judged else {},
        drift=drift,
    )


def _recall(results: Sequence[QueryResult]) -> dict[str, float]:
    metrics = [f"recall_at_{k}" for k in RECALL_KS]
    return {metric: round(mean, 4) for metric, mean in means(results, metrics).items()}


def _age_days(since: str | None) -> float | None:
    if since is None:
        return None
    return (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds() / 86_400


def _drift(workspace: Workspace) -> CorpusDrift | None:
    stored = workspace.stored(Corpus, "corpus_chunks")
    if stored is None:
        return None
    try:
        changes = compare_corpora(stored, workspace.load_corpus())
    except CorpusError:
        return None
    return CorpusDrift(
        added=len(changes.added_documents),
        changed=len(changes.changed_documents),
        removed=len(changes.removed_documents),
    )
