from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.bench.deployment import PAIRS
from domain_embed_pipeline.bench.recipes import STAGE_TWO
from domain_embed_pipeline.bench.records import BenchResult, BenchSettings, RecipeOutput, RecipeRun
from domain_embed_pipeline.bench.running import cost_of, jobs_of, run_bench
from domain_embed_pipeline.bench.table import bench_table
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.defs.config.corpus import CorpusConfig
from domain_embed_pipeline.defs.config.models import MiningConfig, StageTwoConfig, TrainingConfig
from domain_embed_pipeline.defs.config.training_data import QuestionsConfig, StructuralPairsConfig, TrainingPairsConfig
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.pairs.structural import StructuralSettings
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings, TrainingSettings
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, write_lines


def _settings(beir: BeirFolder, model: str, *recipes: str) -> BenchSettings:
    return BenchSettings(str(beir.folder), recipes, model, str(beir.questions))


def _text(result: BenchResult) -> str:
    from rich.console import Console

    console = Console(width=200, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(bench_table(result))
    return console.export_text()


def test_the_pipeline_is_run_with_the_settings_that_its_assets_have() -> None:
    assert CorpusConfig().to_settings() == CorpusSettings()
    # A run leaves a batch to the sensor sooner than the library would.
    asked = dataclasses.replace(QuestionsConfig().to_settings(), batch_wait_h=QuestionSettings().batch_wait_h)
    assert asked == QuestionSettings()
    assert StructuralPairsConfig().to_settings() == StructuralSettings()
    assert TrainingPairsConfig().to_settings() == PAIRS
    assert TrainingConfig().to_settings() == TrainingSettings()
    assert MiningConfig().to_settings() == MiningSettings()
    assert StageTwoConfig().to_settings() == STAGE_TWO
    assert StageTwoConfig().to_candidate_settings() == CandidateSettings()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipes": ("tutorial", "turbo")}, "turbo unknown"),
        ({"recipes": ("bm25", "bm25")}, "named once"),
        ({"recipes": ()}, "Choose among tutorial"),
        ({"folder": "/nowhere"}, "/nowhere/corpus.jsonl"),
        ({"questions": "/nowhere/questions.jsonl"}, "/nowhere/questions.jsonl"),
        ({"sample": 0}, "sample of 0"),
    ],
)
def test_wrong_use_is_named_before_anything_runs(beir: BeirFolder, tiny_model: str, change: dict, named: str) -> None:
    settings = dataclasses.replace(_settings(beir, tiny_model, "bm25"), **change)
    with pytest.raises(ConfigurationError, match=named):
        run_bench(settings)


def test_train_judgments_are_trained_on_as_the_tutorial_does_unless_one_says_otherwise(
    beir: BeirFolder, tiny_model: str, tmp_path: Path
) -> None:
    with_questions = _settings(beir, tiny_model, "default")
    without = dataclasses.replace(with_questions, questions=None)
    for settings, expected in ((with_questions, False), (without, True)):
        for said in (None, True, False):
            (job,) = jobs_of(dataclasses.replace(settings, train_qrels=said), tmp_path)
            assert job.use_train_judgments == (expected if said is None else said)


def test_rates_are_over_the_whole_stage_and_missing_where_nothing_was_done() -> None:
    run = RecipeRun(RecipeOutput((), 10, 300, 500), {"train": 30.0, "encode": 5.0, "prepare": 1.0}, 900.0, None)
    cost = cost_of("default", run)
    assert (cost.pairs_per_second, cost.chunks_per_second, cost.total_seconds) == (10.0, 100.0, 36.0)
    assert cost_of("bm25", RecipeRun(RecipeOutput(()), {"evaluate": 1.0}, 90.0, None)).pairs_per_second is None


def test_bm25_runs_in_a_process_of_its_own_without_a_model(beir: BeirFolder, tiny_model: str) -> None:
    told: list[str] = []
    result = run_bench(_settings(beir, tiny_model, "bm25"), tell=told.append)
    (line,) = result.lines
    assert (result.query_count, result.chunk_count, result.reference) == (80, 400, None)
    assert line.metrics["recall_at_5"] < 0.2  # queries and passages share no word
    assert line.differences == ()
    assert result.costs[0].seconds.keys() == {"prepare", "evaluate"}
    assert 20 < result.costs[0].peak_memory_mb < 1000
    assert told[1] == "[1/1] bm25 ..."
    text = _text(result)
    assert "400 chunks, 80 test queries" in " ".join(text.split())
    assert "pairs/s" not in text


def test_a_recipe_that_fails_is_shown_with_its_log_and_the_others_go_on(beir: BeirFolder, tiny_model: str) -> None:
    write_lines(beir.questions, [])
    arguments = ["bench", str(beir.folder), "--recipes", "tutorial,bm25", "--base-model", tiny_model]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "tutorial failed" in result.stdout
    assert "TooFewPairsError: 0 pairs" in result.stdout
    assert "Recall@10" in result.stdout


@pytest.mark.slow
def test_all_recipes_side_by_side_from_the_command_line(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    arguments = [
        "bench", str(beir.folder), "--questions", str(beir.questions), "--base-model", tiny_model, "--json",
        "--recipes", "tutorial,default,default-plain,base,bm25", "--artifacts", str(kept),
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    lines = {line["name"]: line for line in result["lines"]}
    assert {"tutorial", "default dense", "default-plain dense", "base dense", "bm25"} <= set(lines)
    assert not lines["tutorial"]["differences"]
    assert len(lines["default dense"]["differences"]) == len(lines["bm25"]["differences"]) == 5
    costs = {cost["recipe"]: cost for cost in result["costs"]}
    assert {"start", "prepare", "train", "encode", "evaluate"} <= set(costs["tutorial"]["seconds"])
    assert {"train", "mine", "choose", "encode"} <= set(costs["default"]["seconds"])
    assert costs["default"]["pairs_per_second"] > 0
    assert costs["default"]["pair_count"] > costs["default-plain"]["pair_count"] > 0
    assert costs["base"]["pairs_per_second"] is None
    assert all(cost["dollars"] == 0 and cost["peak_memory_mb"] > 0 for cost in result["costs"])
    assert (kept / "default" / "log.txt").is_file()
