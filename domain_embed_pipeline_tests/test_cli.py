"""The command line, in this process: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from domain_embed_pipeline import __version__
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.cli.running import run_config
from domain_embed_pipeline.defs.profiles import run_config_of
from domain_embed_pipeline.errors import EmptyCorpusError
from domain_embed_pipeline_tests.planted_corpus import RECORDED, PlantedCorpus, write_planted_corpus

RUNNER = CliRunner()


@pytest.fixture
def planted(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> PlantedCorpus:
    corpus = write_planted_corpus(tmp_path)
    monkeypatch.setenv("DOMAIN_EMBED_CORPUS_PATH", str(corpus.corpus))
    monkeypatch.setenv("DOMAIN_EMBED_QUERIES_PATH", str(corpus.queries))
    monkeypatch.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DOMAIN_EMBED_BASE_MODEL", tiny_model)
    return corpus


def test_the_version_is_printed() -> None:
    assert RUNNER.invoke(app, ["--version"]).stdout.strip() == __version__


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "search",
        "status",
        "profile",
        "clean-up",
        "models",
        "rollback",
        "doctor",
        "evaluate",
        "questions import",
        "questions estimate",
        "lineage",
        "forget",
        "push",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    result = RUNNER.invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert len(result.stdout) > 200


def test_an_unknown_profile_is_wrong_use() -> None:
    result = RUNNER.invoke(app, ["run", "--profile", "turbo"])
    assert result.exit_code == 2
    assert "demo, cpu, gpu, production" in " ".join(result.output.split()).replace("│ ", "")


def test_an_override_reason_is_added_to_what_the_alias_is_configured_with(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("ops: {serving_alias: {config: {keep_previous: 5}}, hard_negatives: {config: {seed: 1}}}")
    config = run_config("promote_job", "demo", config_file=file, override_reason="the judge agreed")
    assert config["ops"]["serving_alias"] == {"config": {"keep_previous": 5, "override_reason": "the judge agreed"}}
    assert config["ops"]["hard_negatives"] == {"config": {"seed": 1}}


def test_a_config_file_lies_over_the_knobs_of_the_profile(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("ops: {stage_one_model: {config: {epochs: 1.0}}}")
    asset = run_config("retrain_and_promote_job", "cpu", config_file=file)["ops"]["stage_one_model"]["config"]
    assert asset == {**run_config_of("cpu")["ops"]["stage_one_model"]["config"], "epochs": 1.0}


def test_importing_questions_twice_adds_them_once(planted: PlantedCorpus) -> None:
    first = json.loads(RUNNER.invoke(app, ["questions", "import", str(planted.questions), "--json"]).stdout)
    second = json.loads(RUNNER.invoke(app, ["questions", "import", str(planted.questions), "--json"]).stdout)
    assert (first["chunks"], first["added"]) == (RECORDED, RECORDED)
    assert second["added"] == 0


def test_importing_questions_of_another_corpus_fails_and_says_what_to_name(planted: PlantedCorpus) -> None:
    planted.questions.write_text('{"chunk_id": "elsewhere_0", "natural": "How is it?"}\n', encoding="utf-8")
    result = RUNNER.invoke(app, ["questions", "import", str(planted.questions)])
    assert result.exit_code == 1
    assert "'elsewhere_0'" in result.stderr
    assert "document path" in result.stderr


def test_status_before_the_first_run_says_what_to_do(planted: PlantedCorpus) -> None:
    assert "domain-embed run" in RUNNER.invoke(app, ["status"]).stdout
    state = json.loads(RUNNER.invoke(app, ["status", "--json"]).stdout)
    assert state["collection"] is None


def test_doctor_finds_nothing_wrong_with_a_sound_deployment(planted: PlantedCorpus) -> None:
    result = RUNNER.invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "400 chunks" in result.stdout
    assert "80 test queries" in result.stdout


def test_doctor_counts_the_pairs_that_will_be_trained_on(planted: PlantedCorpus) -> None:
    assert "none of your own" in " ".join(RUNNER.invoke(app, ["doctor"]).stdout.split())
    judgments = "query-id\tcorpus-id\tscore\n260\td260\t1\n261\tnowhere\t1\n"
    (planted.queries / "qrels" / "train.tsv").write_text(judgments, encoding="utf-8")
    result = " ".join(RUNNER.invoke(app, ["doctor"]).stdout.split())
    assert "1 of your own to train on; 1 rows are unusable, such as row 3 (unknown_chunk)" in result


def test_doctor_names_a_missing_corpus_and_the_fix(planted: PlantedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_CORPUS_PATH", "/nowhere/at/all")
    result = RUNNER.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "/nowhere/at/all" in result.stdout
    assert "DOMAIN_EMBED_CORPUS_PATH" in result.stdout


def test_an_error_of_the_family_keeps_its_exit_code(
    planted: PlantedCorpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("DOMAIN_EMBED_CORPUS_PATH", str(tmp_path / "empty"))
    result = RUNNER.invoke(app, ["questions", "import", str(planted.questions)])
    assert isinstance(result.exception, EmptyCorpusError)
    assert result.exception.exit_code == 3


def test_a_profile_is_printed_as_run_config() -> None:
    result = RUNNER.invoke(app, ["profile", "gpu"])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.output) == run_config_of("gpu")
    assert RUNNER.invoke(app, ["profile", "no-such"]).exit_code == 2
