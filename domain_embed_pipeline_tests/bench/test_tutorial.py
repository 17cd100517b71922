"""The tutorial's recipe: its figures are those of the tutorial, and it learns."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.bench import tutorial
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.bench.tutorial import TutorialResult, TutorialSettings, has_plain_questions, run_tutorial
from domain_embed_pipeline.errors import TooFewPairsError
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, write_lines
from domain_embed_pipeline_tests.tiny_model import planted_texts

FAST = TutorialSettings(learning_rate=2e-2, epochs=8.0, batch_size=32)
"""2e-5 moves nothing in a random model of one layer."""


def _run(beir: BeirFolder, model: str, tmp_path: Path, settings: TutorialSettings = FAST) -> TutorialResult:
    return run_tutorial(
        beir.folder,
        beir.questions,
        model_folder=model,
        output=tmp_path / "checkpoints",
        watch=Stopwatch(),
        settings=settings,
    )


def _hits_at_5(result: TutorialResult) -> float:
    """The planted query n is answered by chunk dn."""
    return sum(f"d{query}" in found[:5] for query, found in result.rankings.items()) / len(result.rankings)


def test_the_figures_are_the_tutorials() -> None:
    settings = TutorialSettings()
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (3.0, 64, 2e-5)
    assert (settings.warmup_share, settings.held_out_share, settings.evaluation_steps) == (0.1, 0.1, 200)


def test_it_shares_no_code_with_our_rooms() -> None:
    tree = ast.parse(Path(tutorial.__file__).read_text(encoding="utf-8"))
    ours = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    assert {name for name in ours if name.startswith("domain_embed_pipeline")} == {"domain_embed_pipeline.errors"}


def test_it_trains_on_plain_questions_and_answers_every_test_query(
    beir: BeirFolder, tiny_model: str, tmp_path: Path
) -> None:
    trained = _run(beir, tiny_model, tmp_path, TutorialSettings(learning_rate=1e-9, epochs=0.1))
    assert len(trained.rankings) == 80
    assert trained.pair_count == 234  # nine tenths of 260
    assert trained.source == "plain questions"


@pytest.mark.slow
def test_it_learns_from_plain_questions(beir: BeirFolder, tiny_model: str, tmp_path: Path) -> None:
    untrained = _run(beir, tiny_model, tmp_path, TutorialSettings(learning_rate=1e-9, epochs=0.1))
    trained = _run(beir, tiny_model, tmp_path)
    assert _hits_at_5(trained) > _hits_at_5(untrained) + 0.2


@pytest.mark.slow
def test_the_checkpoint_of_the_smallest_evaluation_loss_is_taken(tiny_model: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    settings = TutorialSettings(learning_rate=5e-2, epochs=8.0, evaluation_steps=2)
    pairs = planted_texts(120)
    model, _ = tutorial.fine_tune(tiny_model, pairs, settings=settings, output=tmp_path)
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
    losses = {entry["step"]: entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry}
    best = tmp_path / f"checkpoint-{min(losses, key=lambda step: losses[step])}"
    texts = [text for pair in pairs[:5] for text in pair]
    assert np.allclose(model.encode(texts), SentenceTransformer(str(best), device="cpu").encode(texts), atol=1e-5)


def test_without_plain_questions_titles_and_train_judgments_are_the_pairs(beir: BeirFolder) -> None:
    write_lines(beir.questions, [{"chunk_id": "d1", "styled": ["how is ask1"]}])
    assert not has_plain_questions(beir.questions)
    corpus = tutorial.read_corpus(beir.folder)
    corpus["d5"]["title"] = "A title"
    (beir.folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n300\td300\t1\n301\td301\t0\n")
    _, pairs = tutorial.read_pairs(beir.folder, beir.questions, corpus)
    assert [positive for _, positive in pairs] == [corpus["d5"]["text"], corpus["d300"]["text"]]
    assert pairs[0][0] == "A title"


def test_nothing_to_train_on_is_an_error_that_says_what_to_give(
    beir: BeirFolder, tiny_model: str, tmp_path: Path
) -> None:
    write_lines(beir.questions, [])
    with pytest.raises(TooFewPairsError, match="0 pairs"):
        _run(beir, tiny_model, tmp_path)
