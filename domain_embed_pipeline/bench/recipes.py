"""The recipes by name: what each does with one set of data, and which rankings come out.

What belongs here: the order of steps, our rooms called as the assets call them, with the assets' default settings. What
does not: the tutorial's calls (`tutorial`), the data (`deployment`), judging the rankings (`judging`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from domain_embed_pipeline.bench.deployment import (
    BenchData,
    BenchWorkspace,
    load_data,
    make_training_pairs,
    open_workspace,
    training_inputs,
)
from domain_embed_pipeline.bench.records import RankedLine, RecipeJob, RecipeOutput
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.bench.tutorial import TutorialSettings, run_tutorial
from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.expansion import expand_corpus
from domain_embed_pipeline.evaluation.evaluate import clusters_of_chunks, evaluate_bm25, evaluate_model
from domain_embed_pipeline.evaluation.records import Evaluation, QueryResult
from domain_embed_pipeline.evaluation.words import mode_name
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.training.negatives import mine_hard_negatives
from domain_embed_pipeline.training.settings import MINIMUM_PAIRS, CandidateSettings, MiningSettings, TrainingSettings
from domain_embed_pipeline.training.stages import (
    TrainingInputs,
    choose_finetuned,
    train_stage_one,
    train_stage_two,
)

TUTORIAL = "tutorial"
STAGE_TWO = TrainingSettings(learning_rate=5e-5, epochs=1.0, max_steps=32)
"""What the asset of stage two has by default; a test compares the two."""


def run_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """Run one recipe in this process."""
    return RECIPES[job.recipe](job, watch)


def tutorial_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """The public tutorial by hand."""
    _import_libraries(watch)
    settings = TutorialSettings(seed=job.seed)
    result = run_tutorial(
        Path(job.folder),
        Path(job.questions) if job.questions else None,
        model_folder=resolve_base_model(job.base_model).folder,
        output=Path(job.artifacts) / "checkpoints",
        watch=watch,
        settings=settings,
    )
    return RecipeOutput(
        lines=(RankedLine(job.recipe, "vectors", result.rankings),),
        pair_count=result.pair_count,
        pairs_seen=int(result.pair_count * settings.epochs),
        passages_encoded=result.chunk_count,
        notes=(f"trained on {result.source}; asks no dev query.",),
    )


def default_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """The whole pipeline with its default settings: two stages, candidate and retrieval mode chosen on dev."""
    _import_libraries(watch)
    workspace = open_workspace(job, watch)
    with watch.stage("prepare"):
        data = load_data(workspace)
        pairs, dollars = make_training_pairs(workspace, data, job.questions)
        inputs = training_inputs(workspace, data, pairs)
    stages, seen = _train(inputs, pairs, job.seed, watch)
    with watch.stage("choose"):
        chosen = choose_finetuned(inputs, stages, settings=CandidateSettings())
    evaluation = _evaluate(workspace, chosen.version, _expanded(data, pairs), watch)
    mix = ", ".join(f"{count.kept} {count.source}" for count in pairs.mix if count.kept)
    return RecipeOutput(
        lines=_lines(job.recipe, evaluation),
        pair_count=len(pairs.pairs),
        pairs_seen=seen,
        passages_encoded=workspace.timed_registry.passages,
        dollars=dollars,
        notes=(f"trained on {mix}; {len(data.queries.queries_of('dev'))} dev queries chose {chosen.reason}",),
    )


def default_plain_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """The pipeline on the tutorial's own questions alone: what the method gives without other questions."""
    if job.questions is None:
        return default_recipe(job, watch)
    plain = Path(job.artifacts) / "plain_questions.jsonl"
    plain.parent.mkdir(parents=True, exist_ok=True)
    lines = Path(job.questions).read_text(encoding="utf-8-sig").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    kept = [{name: row[name] for name in ("chunk_id", "plain")} for row in rows if row.get("plain")]
    plain.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
    return default_recipe(dataclasses.replace(job, questions=str(plain) if kept else None), watch)


def base_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """The base model as it is, by vectors and in its own best mode on dev."""
    _import_libraries(watch)
    workspace = open_workspace(job, watch)
    with watch.stage("prepare"):
        data, base = load_data(workspace), workspace.base_model
    evaluation = _evaluate(workspace, base, data, watch)
    return RecipeOutput(lines=_lines(job.recipe, evaluation), passages_encoded=workspace.timed_registry.passages)


def expanded_base_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """The base model over chunks expanded by their questions: what these bring without any training."""
    _import_libraries(watch)
    workspace = open_workspace(job, watch)
    with watch.stage("prepare"):
        data, base = load_data(workspace), workspace.base_model
        pairs, dollars = make_training_pairs(workspace, data, job.questions)
    evaluation = _evaluate(workspace, base, _expanded(data, pairs), watch)
    passages = workspace.timed_registry.passages
    return RecipeOutput(lines=_lines(job.recipe, evaluation), passages_encoded=passages, dollars=dollars)


def bm25_recipe(job: RecipeJob, watch: Stopwatch) -> RecipeOutput:
    """BM25 alone: no model at all."""
    workspace = open_workspace(job, watch)
    with watch.stage("prepare"):
        data = load_data(workspace)
    with watch.stage("evaluate"):
        clusters = clusters_of_chunks(data.corpus, data.splits)
        rows = evaluate_bm25(corpus=data.corpus, evaluation_set=data.queries, split="test", clusters=clusters)
    return RecipeOutput(lines=(RankedLine(job.recipe, "BM25", _rankings(rows)),))


RECIPES: dict[str, Callable[[RecipeJob, Stopwatch], RecipeOutput]] = {
    TUTORIAL: tutorial_recipe,
    "default": default_recipe,
    "default-plain": default_plain_recipe,
    "base": base_recipe,
    "base-expanded": expanded_base_recipe,
    "bm25": bm25_recipe,
}


def _train(inputs: TrainingInputs, pairs: TrainingPairs, seed: int, watch: Stopwatch) -> tuple[list[ModelVersion], int]:
    """Stage one, mining, and stage two where enough was mined; and the pairs that were seen over all epochs."""
    with watch.stage("train"):
        stages = [train_stage_one(inputs, pairs.pairs, settings=TrainingSettings(seed=seed))]
    seen = _pairs_seen(stages[0], len(pairs.pairs))
    with watch.stage("mine"):
        negatives = mine_hard_negatives(
            inputs.registry.encoder(stages[0].model_version),
            inputs.corpus,
            pairs.pairs,
            clusters=inputs.clusters,
            settings=MiningSettings(),
        )
    if len(negatives.negatives) >= MINIMUM_PAIRS:
        with watch.stage("train"):
            settings = dataclasses.replace(STAGE_TWO, seed=seed)
            stages.append(train_stage_two(inputs, stages[0], negatives, settings=settings))
        seen += _pairs_seen(stages[1], len(negatives.negatives))
    return stages, seen


def _evaluate(workspace: BenchWorkspace, version: ModelVersion, data: BenchData, watch: Stopwatch) -> Evaluation:
    with watch.stage("evaluate"):
        return evaluate_model(
            workspace.registry.encoder(version.model_version),
            corpus=data.corpus,
            evaluation_set=data.queries,
            split="test",
            clusters=clusters_of_chunks(data.corpus, data.splits),
        )


def _expanded(data: BenchData, pairs: TrainingPairs) -> BenchData:
    return dataclasses.replace(data, corpus=expand_corpus(data.corpus, pairs.pairs, data.queries))


def _lines(recipe: str, evaluation: Evaluation) -> tuple[RankedLine, ...]:
    """Vectors alone, and what would be served when that is another mode."""
    dense = RankedLine(f"{recipe} dense", "vectors", _rankings(evaluation.query_results))
    if evaluation.mode.kind == "dense":
        return (dataclasses.replace(dense, mode="vectors (served too)"),)
    served = _rankings(evaluation.served_query_results)
    return dense, RankedLine(f"{recipe} served", mode_name(evaluation.mode), served)


def _rankings(rows: Sequence[QueryResult]) -> dict[str, list[str]]:
    return {row.query_id: list(row.retrieved) for row in rows}


def _pairs_seen(stage: ModelVersion, pair_count: int) -> int:
    """Pairs that went through the model, as far as the last point of the stage's curve."""
    last = max((point.step for point in stage.history), default=0)
    share = min(1.0, last / int(stage.settings["total_steps"]))
    return round(pair_count * float(stage.settings["epochs"]) * share)


def _import_libraries(watch: Stopwatch) -> None:
    """Importing takes seconds that belong to no step."""
    with watch.stage("start"):
        import datasets  # noqa: F401
        import faiss  # noqa: F401
        import sentence_transformers  # noqa: F401
        import torch  # noqa: F401
