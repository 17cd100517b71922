"""A second run does nothing twice; a small change costs little; and the rooms are timed at every size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.bench.growth import Growth, draw, first_layer, growth, write_corpus
from domain_embed_pipeline.bench.rooms import RoomsRun
from domain_embed_pipeline.bench.second_run import edit_some, second_run
from domain_embed_pipeline.cli import app
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, read_lines


def run_of(count: int, **seconds: float) -> RoomsRun:
    return RoomsRun(count, count, count, 0, seconds, 100.0)


def test_an_unchanged_corpus_is_not_encoded_or_uploaded_again_and_an_edit_only_in_its_chunks(
    beir: BeirFolder, tiny_model: str, tmp_path: Path
) -> None:
    result = second_run(beir.folder, beir.questions, base_model=tiny_model, artifacts=tmp_path / "bench")
    assert (result.first.encoded, result.first.uploaded) == (400, 400)
    assert (result.unchanged.encoded, result.unchanged.uploaded) == (0, 0)
    assert result.edited_count == 4
    assert result.edited.encoded == 4
    assert (result.into_live.encoded, result.into_live.uploaded, result.into_live.removed) == (4, 4, 4)
    assert result.lines()[1].startswith("unchanged: ")


def test_later_edits_are_of_other_chunks_and_keep_the_earlier_ones(beir: BeirFolder) -> None:
    corpus = beir.folder / "corpus.jsonl"
    before = read_lines(corpus)
    for first in (0, 1):
        edit_some(corpus, beir.folder, first=first)
    changed = [n for n, (old, new) in enumerate(zip(before, read_lines(corpus), strict=True)) if old != new]
    assert changed == [0, 1, 100, 101, 200, 201, 300, 301]


def test_an_edit_changes_one_chunk_in_a_hundred(beir: BeirFolder, tmp_path: Path) -> None:
    assert edit_some(tmp_path / "edited.jsonl", beir.folder) == 4
    before, after = read_lines(beir.folder / "corpus.jsonl"), read_lines(tmp_path / "edited.jsonl")
    assert [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [0, 100, 200, 300]


def test_made_up_chunks_take_the_place_of_a_folder(tiny_model: str) -> None:
    asked = ["bench", "--second-run", "--made-up", "200", "--base-model", tiny_model]
    figures = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert figures["first"]["chunk_count"] == 200
    assert figures["into_live"]["uploaded"] == 2
    assert CliRunner().invoke(app, ["bench", "--made-up", "200"]).exit_code == 2


def test_the_slope_is_the_exponent_of_the_size() -> None:
    result = Growth(tuple(run_of(size, pairs=size**1.5 / 1e4, corpus=0.001) for size in (1_000, 3_000, 10_000)))
    assert result.slope("pairs") == pytest.approx(1.5)
    assert result.slope("corpus") is None
    assert result.lines()[0] == "| room, seconds | 1,000 | 3,000 | 10,000 | slope |"


def test_a_made_up_corpus_has_its_size_and_the_same_seed_the_same_words(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_corpus(tmp_path / name, 50)
    assert (tmp_path / "one" / "corpus.jsonl").read_bytes() == (tmp_path / "two" / "corpus.jsonl").read_bytes()
    rows = read_lines(tmp_path / "one" / "corpus.jsonl")
    assert len({row["text"] for row in rows}) == 50
    asked = {json.loads(line)["chunk_id"] for line in (tmp_path / "one" / "questions.jsonl").open()}
    judged = {line.split("\t")[1] for line in (tmp_path / "one" / "qrels" / "test.tsv").open()}
    assert len(asked) == 5
    assert not asked & judged


@pytest.mark.slow
def test_every_room_is_timed_at_every_size_and_drawn(tiny_model: str, tmp_path: Path) -> None:
    result = growth([400, 200], base_model=tiny_model)
    assert [run.chunk_count for run in result.runs] == [200, 400]
    for run in result.runs:
        assert run.encoded == run.uploaded == run.chunk_count
        assert set(run.seconds) == {"corpus", "splits", "pairs", "encode", "evaluate", "index"}
    draw(result, tmp_path / "growth.svg")
    assert (tmp_path / "growth.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_only_the_first_layer_is_kept(tiny_model: str, tmp_path: Path) -> None:
    from domain_embed_pipeline.encoding.sentence_transformer import load_model

    folder = first_layer(tiny_model, tmp_path / "short")
    assert len(load_model(folder)[0].auto_model.encoder.layer) == 1
