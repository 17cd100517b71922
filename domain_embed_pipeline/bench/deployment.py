"""Our own deployment for one recipe: a folder of its own, encoders that are timed, the data that all recipes share.

What does not belong here: what a recipe does with them (`recipes`). Nothing of the user's deployment is read or written
(ledger, models, vectors, index), and no LLM is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.bench.records import RecipeJob
from domain_embed_pipeline.bench.stopwatch import Stopwatch, TimedEncoder
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.encoding.vector_cache import CachedEncoder
from domain_embed_pipeline.evaluation.evaluate import EvaluationSettings, clusters_of_chunks, evaluate_model
from domain_embed_pipeline.evaluation.fusion import DENSE
from domain_embed_pipeline.evaluation.records import QueryResult
from domain_embed_pipeline.pairs.current_set import QuerySource, current_evaluation_set
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.pairs.splits import cluster_of_chunks, split_documents
from domain_embed_pipeline.pairs.structural import structural_pairs
from domain_embed_pipeline.pairs.training_pairs import (
    PairCandidates,
    PairTools,
    TrainingPairSettings,
    build_training_pairs,
)
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.training.stages import TrainingInputs
from domain_embed_pipeline.workspace import Workspace

PAIRS = TrainingPairSettings(structural_share=0.1)
"""What the asset of training pairs has by default; a test compares the two."""


@dataclass(frozen=True, slots=True)
class BenchData:
    """What our recipes start from, and what all are judged on. Its ids follow from content: every process has them."""

    corpus: Corpus
    splits: DocumentSplits
    queries: EvaluationSet


@dataclass(frozen=True, slots=True)
class Candidates:
    """What training pairs are chosen from, and what it cost."""

    pairs: PairCandidates
    dollars: float
    """For the questions; nothing when they are recorded."""


class TimedRegistry(ModelRegistry):
    """Model versions whose encoders are timed; cached vectors cost nothing and are not counted."""

    def __init__(self, root: Path, *, vectors_folder: Path, watch: Stopwatch) -> None:
        super().__init__(root, vectors_folder=vectors_folder)
        self._watch = watch
        self.passages = 0
        """Passages encoded so far."""

    def encoder(self, model_version: str) -> CachedEncoder:
        """Encoder of a version through its cache; loading its weights is not timed as encoding."""
        from domain_embed_pipeline.encoding.sentence_transformer import load_encoder

        spec = self.manifest(model_version).encoder

        def load() -> TimedEncoder:
            """The encoder itself, loaded at the first text that the cache does not hold."""
            return TimedEncoder(load_encoder(self.verified_folder(model_version), spec), self._watch, self._add)

        return CachedEncoder(spec, load=load, cache=self.vector_cache(spec))

    def _add(self, count: int) -> None:
        self.passages += count


class BenchWorkspace(Workspace):
    """Stores in the recipe's own folder."""

    def __init__(self, settings: DeploymentSettings, watch: Stopwatch) -> None:
        super().__init__(settings)
        self.timed_registry = TimedRegistry(self.local / "models", vectors_folder=self.local / "vectors", watch=watch)

    @property
    def registry(self) -> ModelRegistry:
        """Model versions with timed encoders."""
        return self.timed_registry


def open_workspace(job: RecipeJob, watch: Stopwatch) -> BenchWorkspace:
    """The deployment of a job. Every setting that matters is given, so that the environment's do not leak in."""
    artifacts = Path(job.artifacts)
    settings = DeploymentSettings(
        _env_file=None,  # pyright: ignore[reportCallIssue]
        corpus_path=str(Path(job.folder) / "corpus.jsonl"),
        queries_path=job.folder,
        user_pairs_path=None,
        use_train_qrels=job.use_train_judgments,
        artifacts_path=job.artifacts,
        ledger_url=f"sqlite:///{artifacts / 'ledger.sqlite'}",
        base_model=job.base_model,
        qdrant_url=None,
    )
    return BenchWorkspace(settings, watch)


def load_data(workspace: Workspace) -> BenchData:
    """Corpus, near-duplicate clusters, dev and test queries; a cluster of chunks is found once for all recipes."""
    corpus = workspace.load_corpus()
    splits = split_documents(corpus, has_user_queries=True)
    queries = current_evaluation_set(
        corpus, splits, QuerySource(own=workspace.settings.queries_path, frozen=workspace.frozen_queries), questions=()
    )
    return BenchData(corpus, splits, queries)


def load_candidates(workspace: Workspace, data: BenchData, questions: str | None) -> Candidates:
    """Recorded questions, structural pairs and the user's pairs, before any filter."""
    with workspace.open_ledger() as ledger:
        if questions is not None:
            import_questions(questions, corpus=data.corpus, ledger=ledger)
        generated = generate_questions(data.corpus.chunks, settings=QuestionSettings(), ledger=ledger, client=None)
    pairs = PairCandidates(
        questions=generated.questions,
        structural=structural_pairs(data.corpus, data.splits),
        user_pairs=workspace.load_user_pairs(data.corpus),
    )
    return Candidates(pairs, generated.cost_usd)


def make_training_pairs(workspace: Workspace, data: BenchData, questions: str | None) -> tuple[TrainingPairs, float]:
    """Pairs as the assets make them, and what their questions cost in dollars."""
    candidates = load_candidates(workspace, data, questions)
    encoder = workspace.registry.encoder(workspace.base_model.model_version)
    return choose_pairs(data, candidates.pairs, encoder=encoder), candidates.dollars


def choose_pairs(
    data: BenchData, candidates: PairCandidates, *, encoder: Encoder | None, settings: TrainingPairSettings = PAIRS
) -> TrainingPairs:
    """What filters, caps and leakage detectors leave of the candidates."""
    return build_training_pairs(
        data.corpus,
        data.splits,
        candidates,
        evaluation_set=data.queries,
        settings=settings,
        tools=PairTools(encoder=encoder),
    )


def training_inputs(workspace: Workspace, data: BenchData, pairs: TrainingPairs) -> TrainingInputs:
    """What the training stages need, as the assets have it, but for guard sets."""
    return TrainingInputs(
        registry=workspace.registry,
        base=workspace.base_model,
        corpus=data.corpus,
        evaluation_set=data.queries,
        clusters=cluster_of_chunks(data.splits),
        pairs_version=pairs.pairs_version,
        checkpoints=workspace.checkpoints,
    )


def dev_results(workspace: Workspace, data: BenchData, version: ModelVersion) -> tuple[QueryResult, ...]:
    """What a model finds for the dev queries by vectors over the whole corpus."""
    evaluation = evaluate_model(
        workspace.registry.encoder(version.model_version),
        corpus=data.corpus,
        evaluation_set=data.queries,
        split="dev",
        clusters=clusters_of_chunks(data.corpus, data.splits),
        settings=EvaluationSettings(mode=DENSE),
    )
    return evaluation.query_results
