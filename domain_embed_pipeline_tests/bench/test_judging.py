from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline.bench.deployment import BenchData, load_data, open_workspace
from domain_embed_pipeline.bench.judging import Judge, judged_lines
from domain_embed_pipeline.bench.records import RankedLine, RecipeJob
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, read_lines, write_lines


def _data(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> BenchData:
    job = RecipeJob("judge", str(beir.folder), None, True, tiny_model, str(tmp_path / "artifacts"))
    return load_data(open_workspace(job, Stopwatch()))


def _texts(beir: BeirFolder) -> dict[str, str]:
    return {row["_id"]: row["text"] for row in read_lines(beir.folder / "queries.jsonl")}


def test_ids_of_the_folder_and_our_own_give_the_same_figures(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> None:
    data, texts = _data(beir, tiny_model, tmp_path), _texts(beir)
    theirs = RankedLine("tutorial", "vectors", {name: ["d0", f"d{name}", "d1"] for name in texts})
    by_name = {name: chunk.chunk_id for chunk in data.corpus.chunks for name in chunk.external_ids}
    name_of = {text: name for name, text in texts.items()}
    ours = RankedLine(
        "default",
        "vectors",
        {query.query_id: [by_name["d0"], by_name[f"d{name_of[query.text]}"]] for query in data.queries.queries},
    )
    lines = judged_lines(Judge(data, texts), [("tutorial", theirs), ("default", ours)], "tutorial")
    assert lines[0].metrics == lines[1].metrics
    assert (lines[0].metrics["recall_at_1"], lines[0].metrics["recall_at_3"]) == (0.0, 1.0)
    assert lines[0].differences == ()
    assert all(row.difference == 0 for row in lines[1].differences)


def test_equal_passages_under_two_ids_count_once_at_the_best_rank(
    beir: BeirFolder, tiny_model: str, tmp_path: Path
) -> None:
    corpus = beir.folder / "corpus.jsonl"
    rows = read_lines(corpus)
    write_lines(corpus, [*rows, {**rows[0], "_id": "copy", "source": "elsewhere"}])
    data, texts = _data(beir, tiny_model, tmp_path), _texts(beir)
    line = RankedLine("tutorial", "vectors", {name: ["d0", "copy", "d1", f"d{name}"] for name in texts})
    (row, *_) = Judge(data, texts).measure(line)
    assert (row.recall_at_1, row.recall_at_3) == (0.0, 1.0)


def test_a_line_that_leaves_out_a_query_is_refused(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> None:
    data, texts = _data(beir, tiny_model, tmp_path), _texts(beir)
    with pytest.raises(EvaluationError, match="tutorial has no ranking"):
        Judge(data, texts).measure(RankedLine("tutorial", "vectors", {}))


def test_a_line_that_always_finds_is_significantly_better(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> None:
    data, texts = _data(beir, tiny_model, tmp_path), _texts(beir)
    right = RankedLine("right", "vectors", {name: [f"d{name}"] for name in texts})
    wrong = RankedLine("wrong", "vectors", {name: ["d0"] for name in texts})
    lines = judged_lines(Judge(data, texts), [("wrong", wrong), ("right", right)], "wrong")
    recall = next(row for row in lines[1].differences if row.metric == "recall_at_5")
    assert (recall.difference, recall.interval_low) == (1.0, 1.0)
    assert recall.p_value < 0.001
