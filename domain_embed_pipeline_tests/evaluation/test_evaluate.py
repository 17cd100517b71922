from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.evaluate import (
    EvaluationSettings,
    clusters_of_chunks,
    evaluate_bm25,
    evaluate_model,
)
from domain_embed_pipeline.evaluation.fusion import DENSE
from domain_embed_pipeline.evaluation.modes import unchosen_mode
from domain_embed_pipeline.evaluation.records import Evaluation, RetrievalMode
from domain_embed_pipeline.records import DocumentSplit, DocumentSplits
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.evaluation.helpers import TableEncoder, chunk_of, corpus_of, evaluation_set_of

CORPUS = corpus_of(
    [
        chunk_of("c-heart", "heart failure", document_id="cardiology/heart.md"),
        chunk_of("c-stent", "stent after infarction", document_id="cardiology/stent.md"),
        chunk_of("c-kidney", "kidney failure", document_id="renal/kidney.md"),
    ]
)
# The model takes a stent for a matter of the kidney.
ENCODER = TableEncoder({"heart": [1, 0], "kidney": [0, 1], "stent": [0.6, 0.8]})
SET = evaluation_set_of(
    {
        "q-1": ("heart", "test", ["c-heart"]),
        "q-2": ("kidney", "test", ["c-kidney", "c-stent"]),
        "q-3": ("stent infarction", "test", ["c-stent"]),
    }
)


def test_every_query_is_measured_by_hand_over_the_whole_corpus() -> None:
    evaluation = evaluate_model(
        ENCODER, corpus=CORPUS, evaluation_set=SET, split="test", clusters={}, settings=EvaluationSettings(mode=DENSE)
    )
    heart, kidney, stent = evaluation.query_results
    assert heart.retrieved == ("c-heart", "c-stent", "c-kidney")
    assert (heart.recall_at_1, kidney.recall_at_1, kidney.recall_at_3, stent.recall_at_1) == (1, 0.5, 1, 1)
    assert evaluation.served_query_results == evaluation.query_results
    assert (evaluation.split, evaluation.mode, evaluation.encoder) == ("test", DENSE, ENCODER.spec)
    assert evaluation.sparse is None


def test_the_served_results_follow_the_mode_and_the_headline_stays_dense() -> None:
    wrong = TableEncoder({"heart": [0, 1], "kidney": [1, 0], "stent": [0.6, 0.8]})
    confused = evaluate_model(
        wrong,
        corpus=CORPUS,
        evaluation_set=SET,
        split="test",
        clusters={},
        settings=EvaluationSettings(mode=RetrievalMode("sparse")),
    )
    assert [row.recall_at_1 for row in confused.served_query_results] == [1, 0.5, 1]
    assert confused.served_query_results[2].retrieved == ("c-stent",)
    assert len(confused.query_results[2].retrieved) == 3
    assert confused.sparse is not None
    assert confused.sparse.average_length == pytest.approx((2 + 2 + 2 + 1) / 3, abs=0.4)


def test_without_a_mode_it_is_chosen_on_dev_and_not_on_test() -> None:
    chunks = [chunk_of(f"c-{place}", f"topic{place} text") for place in range(40)]
    # Vectors know nothing; words know everything, on dev.
    encoder = TableEncoder({f"topic{place}": [1, 0] for place in range(40)})
    queries = {f"q-{place}": (f"topic{place}", "dev", [f"c-{place}"]) for place in range(30)}
    queries |= {f"q-{place}": (f"topic{place}", "test", [f"c-{place - 1}"]) for place in range(30, 40)}
    evaluation = evaluate_model(
        encoder,
        corpus=corpus_of(chunks),
        evaluation_set=evaluation_set_of(queries),
        split="test",
        clusters={},
    )
    assert evaluation.mode.kind == "sparse"
    assert sum(row.recall_at_10 for row in evaluation.served_query_results) == 0
    assert [score.kind for score in evaluation.mode_scores if score.chosen] == ["sparse"]


def test_without_dev_queries_the_mode_that_needs_no_choice_is_taken() -> None:
    evaluation = evaluate_model(ENCODER, corpus=CORPUS, evaluation_set=SET, split="test", clusters={})
    assert (evaluation.mode, evaluation.mode_scores) == (unchosen_mode(), ())


def test_a_query_belongs_to_the_cluster_of_most_of_its_answers() -> None:
    queries = evaluation_set_of({"q-1": ("heart", "test", ["c-heart", "c-stent", "c-kidney"])})
    clusters = {"c-heart": "k-b", "c-stent": "k-b", "c-kidney": "k-a"}
    evaluation = evaluate_model(
        ENCODER,
        corpus=CORPUS,
        evaluation_set=queries,
        split="test",
        clusters=clusters,
        settings=EvaluationSettings(mode=DENSE),
    )
    assert evaluation.query_results[0].cluster_id == "k-b"


def test_bm25_is_measured_without_a_model() -> None:
    rows = evaluate_bm25(corpus=CORPUS, evaluation_set=SET, split="test", clusters={})
    assert [row.retrieved[0] for row in rows] == ["c-heart", "c-kidney", "c-stent"]


def test_a_chunk_has_the_cluster_of_its_document() -> None:
    splits = DocumentSplits("corpus-1", "splits-1", True, (DocumentSplit("cardiology/heart.md", "k-1", "test"),), ())
    clusters = clusters_of_chunks(CORPUS, splits)
    assert clusters == {"c-heart": "k-1", "c-stent": "cardiology/stent.md", "c-kidney": "renal/kidney.md"}


def test_another_corpus_version_is_refused() -> None:
    other = dataclasses.replace(CORPUS, corpus_version="corpus-2")
    with pytest.raises(EvaluationError, match="made for the corpus corpus-1, not for corpus-2"):
        evaluate_model(ENCODER, corpus=other, evaluation_set=SET, split="test", clusters={})


def test_a_split_without_queries_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no dev query"):
        evaluate_model(ENCODER, corpus=CORPUS, evaluation_set=SET, split="dev", clusters={})


def test_an_answer_outside_the_corpus_is_refused() -> None:
    queries = evaluation_set_of({"q-1": ("heart", "test", ["c-lost"])})
    with pytest.raises(EvaluationError, match="'q-1' is answered by chunks that the corpus lacks: \\['c-lost'\\]"):
        evaluate_model(ENCODER, corpus=CORPUS, evaluation_set=queries, split="test", clusters={})


def test_a_query_without_any_answer_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'q-1'"):
        evaluate_model(
            ENCODER,
            corpus=CORPUS,
            evaluation_set=evaluation_set_of({"q-1": ("heart", "test", [])}),
            split="test",
            clusters={},
        )


def test_an_evaluation_survives_the_disk(tmp_path: Path) -> None:
    evaluation = evaluate_model(
        ENCODER,
        corpus=CORPUS,
        evaluation_set=SET,
        split="test",
        clusters={},
        settings=EvaluationSettings(mode=RetrievalMode("hybrid", "dbsf", 1.0)),
    )
    save_record(evaluation, str(tmp_path / "evaluation"))
    assert load_record(Evaluation, str(tmp_path / "evaluation")) == evaluation


def test_an_expanded_mode_is_served_over_questions_and_the_headline_stays_with_the_texts() -> None:
    corpus = dataclasses.replace(
        CORPUS,
        chunks=tuple(
            dataclasses.replace(c, questions=("blocked pipe",)) if c.chunk_id == "c-stent" else c for c in CORPUS.chunks
        ),
    )
    queries = evaluation_set_of({"q-1": ("pipe", "test", ["c-stent"])})
    encoder = TableEncoder({"heart": [1, 0], "kidney": [0.9, 0.4], "stent": [0, 1], "pipe": [1, 0.1]})
    mode = RetrievalMode("hybrid", "dbsf", 2.0, expanded=True)
    evaluation = evaluate_model(
        encoder,
        corpus=corpus,
        evaluation_set=queries,
        split="test",
        clusters={},
        settings=EvaluationSettings(mode=mode),
    )
    assert evaluation.query_results[0].retrieved[0] == "c-heart"
    assert evaluation.served_query_results[0].retrieved[0] == "c-stent"
