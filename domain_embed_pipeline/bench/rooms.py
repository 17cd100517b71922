"""Every room once, from documents to a live collection, each timed by itself; training aside.

What belongs here: calling the rooms as the assets call them, with the base model. What does not: what is compared with
what (`second_run`, `growth`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.bench.deployment import BenchData, BenchWorkspace, make_training_pairs, open_workspace
from domain_embed_pipeline.bench.records import RecipeJob
from domain_embed_pipeline.bench.stopwatch import Stopwatch, peak_memory_mb
from domain_embed_pipeline.drops.indexing import index_new_documents
from domain_embed_pipeline.evaluation.evaluate import clusters_of_chunks, evaluate_model
from domain_embed_pipeline.evaluation.records import Evaluation
from domain_embed_pipeline.pairs.current_set import QuerySource, current_evaluation_set
from domain_embed_pipeline.pairs.splits import split_documents
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.serving.alias import current_target, swap_alias
from domain_embed_pipeline.serving.release import build_verified_collection
from domain_embed_pipeline.tables import load_record, save_record

ROOMS = ("corpus", "splits", "pairs", "encode", "evaluate", "index")


@dataclass(frozen=True, slots=True)
class RoomsRun:
    """What one passage through the rooms cost, and how much was new in it."""

    chunk_count: int
    encoded: int
    uploaded: int
    removed: int
    seconds: dict[str, float]
    peak_memory_mb: float
    """Of the process so far."""

    @property
    def total_seconds(self) -> float:
        """Over all rooms."""
        return sum(self.seconds.values())


def run_rooms(job: RecipeJob) -> RoomsRun:
    """Go through the rooms in the job's folder, where an earlier passage may have left things."""
    watch = Stopwatch()
    workspace = open_workspace(job, watch)
    with watch.stage("corpus"):
        # The other rooms get what was stored, as assets do.
        save_record(workspace.load_corpus(), workspace.tables / "corpus_chunks")
        corpus = load_record(Corpus, workspace.tables / "corpus_chunks")
    with watch.stage("splits"):
        splits = split_documents(corpus, has_user_queries=True)
        queries = current_evaluation_set(
            corpus, splits, QuerySource(own=job.folder, frozen=workspace.frozen_queries), questions=()
        )
    data = BenchData(corpus, splits, queries)
    with watch.stage("pairs"):
        make_training_pairs(workspace, data, job.questions)
    with watch.stage("evaluate"):
        evaluation = _evaluated(workspace, data)
    alias = workspace.settings.serving_alias
    with watch.stage("index"), workspace.open_store() as store:
        collection = build_verified_collection(
            store,
            alias,
            corpus=corpus,
            evaluation=evaluation,
            encoder=workspace.registry.encoder(workspace.base_model.model_version),
            settings=workspace.build_settings,
        )
        swap_alias(
            store,
            alias,
            collection.collection,
            expected_current=current_target(store, alias),
            lock_folder=workspace.locks,
        )
    return RoomsRun(
        chunk_count=len(corpus.chunks),
        encoded=workspace.timed_registry.passages,
        uploaded=collection.uploaded_count,
        removed=collection.removed_count,
        seconds=watch.seconds,
        peak_memory_mb=peak_memory_mb(),
    )


def run_new_documents(job: RecipeJob) -> RoomsRun:
    """Bring what `run_rooms` made live up to the documents as they are now, as `index_new_documents_job` does."""
    watch = Stopwatch()
    workspace = open_workspace(job, watch)
    with watch.stage("index"):
        served = index_new_documents(workspace, before=None)
    written = served.reconciliation
    assert written is not None, served.reason
    return RoomsRun(
        chunk_count=len(served.chunks),
        encoded=workspace.timed_registry.passages,
        uploaded=written.added + written.updated,
        removed=written.deleted,
        seconds=watch.seconds,
        peak_memory_mb=peak_memory_mb(),
    )


def rooms_job(folder: Path, questions: Path | None, base_model: str, artifacts: Path) -> RecipeJob:
    """A job for `run_rooms`; judged queries of the folder's train side are used where there are no questions."""
    return RecipeJob(
        recipe="rooms",
        folder=str(folder),
        questions=str(questions) if questions else None,
        use_train_judgments=questions is None,
        base_model=base_model,
        artifacts=str(artifacts),
    )


def _evaluated(workspace: BenchWorkspace, data: BenchData) -> Evaluation:
    return evaluate_model(
        workspace.registry.encoder(workspace.base_model.model_version),
        corpus=data.corpus,
        evaluation_set=data.queries,
        split="test",
        clusters=clusters_of_chunks(data.corpus, data.splits),
    )
