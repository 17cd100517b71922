from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.bench.ingredients import FIRST, SECOND, IngredientSettings, run_ingredients
from domain_embed_pipeline.bench.records import BenchSettings
from domain_embed_pipeline.bench.table import print_ingredients
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.training_pairs import TrainingPairSettings
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.training.settings import MiningSettings, TrainingSettings
from domain_embed_pipeline_tests.bench.scenario import BeirFolder

# The tiny model's cosines are all high: to it, every question is a paraphrase of every query, and no negative is far.
PAIRS = TrainingPairSettings(
    leakage=LeakageSettings(embedding_similarity=2, same_answer_similarity=2, same_answer_quantile=1)
)
FEW_STEPS = IngredientSettings(
    stage_one=TrainingSettings(batch_size=16, max_steps=2, max_length=32),
    stage_two=TrainingSettings(batch_size=16, max_steps=2, max_length=32),
    mining=MiningSettings(relative_margin=-1),
    pairs=PAIRS,
)


@pytest.fixture
def bench(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> BenchSettings:
    return BenchSettings(
        str(beir.folder), (), tiny_model, questions=str(beir.questions), artifacts=str(tmp_path / "artifacts")
    )


def test_every_ingredient_is_left_out_in_turn_and_compared_by_query(
    bench: BenchSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row.name: row for row in run_ingredients(bench, FEW_STEPS)}
    assert rows["base model"].reference is None
    assert {row.reference for row in rows.values()} == {None, "base model", FIRST, SECOND}
    for row in rows.values():
        against = rows.get(row.reference or "")
        for found in row.differences:
            assert against is not None
            assert found.difference == pytest.approx(row.means[found.metric] - against.means[found.metric])
    assert rows["questions of one style"].pair_count < rows[FIRST].pair_count
    # The planted corpus has neither structural pairs nor near-duplicates to leave out.
    assert bench.artifacts is not None
    own = Path(bench.artifacts) / "default"
    versions = ModelRegistry(own / "models", vectors_folder=own / "vectors").versions()
    assert sum(version.kind == "stage_one" for version in versions) == 4
    assert {version.kind for version in versions} == {"base", "stage_one", "stage_two", "blend"}
    print_ingredients(list(rows.values()))
    assert "random batches" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_prints_the_rows_as_json(bench: BenchSettings) -> None:
    asked = [bench.folder, "--questions", str(bench.questions), "--base-model", bench.base_model, "--ingredients"]
    done = CliRunner().invoke(app, ["bench", *asked, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows][:2] == ["base model", FIRST]
