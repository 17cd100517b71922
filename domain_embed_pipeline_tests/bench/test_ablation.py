from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.bench.ablation import DEFAULT, NOTHING, ROUND_TRIP, AblationSettings, run_ablation
from domain_embed_pipeline.bench.records import BenchSettings
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.pairs.filters.settings import FILTER_NAMES
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, read_lines, write_lines


@pytest.fixture
def bench(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> BenchSettings:
    """Three of the recorded questions are junk of one kind, and two of another."""
    rows = read_lines(beir.questions)
    for number, row in enumerate(rows[:3]):
        row["styled"] = [f"What does this passage say about item {number} and others?"]
    for number, row in enumerate(rows[3:5]):
        row["styled"] = [f"I'm sorry, but I cannot write a question about item {number}."]
    write_lines(beir.questions, rows)
    return BenchSettings(
        str(beir.folder), (), tiny_model, str(beir.questions), train_qrels=False, artifacts=str(tmp_path / "artifacts")
    )


def test_what_each_filter_drops_is_counted_without_training(bench: BenchSettings) -> None:
    result = run_ablation(bench)
    rows = {row.name: row for row in result.variants}
    assert list(rows)[:2] == [DEFAULT, NOTHING]
    assert set(rows) == {DEFAULT, NOTHING, *(f"without {name}" for name in FILTER_NAMES)}
    drops = {drop.reason: drop.count for drop in result.drops}
    assert (drops["context_dependent"], drops["artifact"]) == (3, 2)
    assert rows["without context_dependent"].more_pairs >= 3
    assert rows["without artifacts"].more_pairs >= 2
    assert rows[DEFAULT].more_pairs == rows[DEFAULT].fewer_pairs == 0
    assert all(row.recall_at_5 is None for row in result.variants)


def test_the_command_prints_a_row_for_each_choice(bench: BenchSettings) -> None:
    asked = [bench.folder, "--questions", str(bench.questions), "--base-model", bench.base_model]
    done = CliRunner().invoke(app, ["filters", *asked, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["name"] for row in document["variants"]][:2] == [DEFAULT, NOTHING]
    shown = CliRunner().invoke(app, ["filters", *asked])
    assert "without context_dependent" in shown.stdout
    assert "3 context_dependent" in shown.stdout


@pytest.mark.slow
def test_choices_that_differ_are_trained_and_compared_by_query(bench: BenchSettings) -> None:
    result = run_ablation(bench, AblationSettings(train=True, minimum_change=0.0))
    rows = {row.name: row for row in result.variants}
    trained = {name for name, row in rows.items() if row.recall_at_5 is not None}
    changed = {row.name for row in result.variants if row.more_pairs + row.fewer_pairs}
    assert trained == {DEFAULT, *changed}
    assert "without context_dependent" in trained
    assert ROUND_TRIP in rows
    assert rows[DEFAULT].difference is None
    for name in changed:
        found = rows[name].difference
        assert found is not None
        assert found.wins + found.ties + found.losses == result.dev_query_count
        assert found.difference == pytest.approx(rows[name].recall_at_5 - rows[DEFAULT].recall_at_5)  # type: ignore[operator]
