from __future__ import annotations

import dataclasses

import pytest

from domain_embed_pipeline.drops.decision import DecisionSettings, decide
from domain_embed_pipeline.drops.novelty import Novelty, measure_novelty, trained_corpus
from domain_embed_pipeline.evaluation.records import Comparison, ReferenceComparison, RetrievalMode
from domain_embed_pipeline.questions.ledger import RecordedQuestion
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.drops.scenario import Place, sentence

KNOWN = Novelty(
    trained_corpus_version="corpus-1",
    trained_chunk_count=1_000,
    new_chunk_count=100,
    gone_chunk_count=0,
    new_cluster_count=90,
    cluster_count=1_050,
    new_word_count=10,
    word_count=200,
    question_count=0,
    recall_at_5=None,
)


@pytest.mark.parametrize(
    ("changes", "action", "why"),
    [
        ({}, "index_only", "more of what is known"),
        ({"new_cluster_count": 300}, "retrain", "29% new clusters"),
        ({"new_word_count": 100}, "retrain", "50% new words"),
        ({"new_word_count": 100, "new_chunk_count": 49}, "index_only", "under 50"),
        ({"new_chunk_count": 5_000}, "retrain", "5000 new chunks (bound 5000)"),
        ({"recall_at_5": 0.5, "question_count": 30}, "retrain", "Recall@5 0.50 on 30 questions"),
        ({"recall_at_5": 0.8, "question_count": 30}, "index_only", "Recall@5 0.80"),
        ({"recall_at_5": 0.1, "question_count": 29}, "index_only", "not measured, 29 questions"),
        ({"trained_chunk_count": 0, "new_chunk_count": 9_000}, "index_only", "Nothing was ever trained"),
    ],
)
def test_the_decision_follows_from_the_measures_and_names_the_bound(
    changes: dict[str, float], action: str, why: str
) -> None:
    decision = decide(dataclasses.replace(KNOWN, **changes))  # pyright: ignore[reportArgumentType]
    assert decision.action == action
    assert why in decision.reason


def test_bounds_are_settings() -> None:
    assert decide(KNOWN, settings=DecisionSettings(new_cluster_share=0.05)).action == "retrain"


def test_copies_and_edits_are_no_new_clusters_and_known_words_no_news(place: Place) -> None:
    text = " ".join(sentence(number) for number in range(8))
    (place.documents / "long.md").write_text(f"# Long\n\n{text}\n", encoding="utf-8")
    place.go_live()
    (place.documents / "copy.md").write_text(f"# Copy\n\n{text}\n", encoding="utf-8")
    (place.documents / "long.md").write_text(f"# Long\n\n{text} Noted.\n", encoding="utf-8")
    novelty = measure_novelty(place.workspace, place.index())
    assert novelty.new_chunk_count == 2
    assert novelty.new_cluster_count == 0
    assert novelty.new_word_count == 0
    assert novelty.gone_chunk_count == 1


def test_another_field_is_new_in_clusters_and_words(place: Place) -> None:
    place.go_live()
    for number in range(3):
        text = " ".join(f"Zymurgy{number} ferments wort with yeast strain{number} batch{place}." for place in range(20))
        (place.documents / f"beer-{number}.md").write_text(f"# Beer\n\n{text}\n", encoding="utf-8")
    novelty = measure_novelty(place.workspace, place.index())
    assert novelty.new_cluster_share > 0.3
    assert novelty.new_word_share > 0.5
    assert {"ferments", "wort", "yeast"} <= set(novelty.new_words)


def test_recall_of_the_live_model_is_measured_on_questions_of_new_chunks_alone(place: Place) -> None:
    place.go_live()
    place.write_rows("new.jsonl", range(400, 420))
    served = place.index()
    ids = {chunk.text: chunk.chunk_id for chunk in served.chunks}
    old = next(chunk for chunk in served.chunks if chunk.document_id == "handbook-0.md")
    questions = [(sentence(number), ids[sentence(number)]) for number in range(400, 410)]
    questions += [(sentence(number), ids[sentence(number + 10)]) for number in range(400, 410)]
    recorded = [RecordedQuestion(chunk_id, "natural", text, "test") for text, chunk_id in questions]
    with place.workspace.open_ledger() as ledger:
        ledger.add_recorded([*recorded, RecordedQuestion(old.chunk_id, "natural", "how is this noted", "test")])
    with place.workspace.retriever() as retriever:
        found = [any(hit.chunk_id == ids_ for hit in retriever.search(text, k=5)) for text, ids_ in questions]
    novelty = measure_novelty(place.workspace, served)
    assert novelty.question_count == 20
    assert novelty.recall_at_5 == sum(found) / 20
    assert all(found[:10])


def test_small_drops_add_up_until_a_training(place: Place) -> None:
    place.go_live()
    counts = []
    for drop in range(3):
        place.write(f"drop-{drop}.md", *range(200 + 10 * drop, 205 + 10 * drop))
        counts.append(measure_novelty(place.workspace, place.index()).new_chunk_count)
    assert counts[0] < counts[1] < counts[2]
    save_record(place.workspace.load_corpus(), str(place.workspace.tables / "corpus_chunks"))
    assert measure_novelty(place.workspace, place.index()).new_chunk_count == 0


def test_a_training_that_failed_leaves_its_documents_new_and_one_that_runs_does_not(place: Place) -> None:
    """The corpus table changes when a training starts; only a verdict makes it the corpus of the last training."""
    place.go_live()
    tables = place.workspace.tables
    first = load_record(Corpus, str(tables / "corpus_chunks"))
    save_record(_judged(first), str(tables / "model_comparison"))
    assert trained_corpus(place.workspace) == first
    place.write("new.md", *range(200, 220))
    second = place.workspace.load_corpus()
    save_record(second, str(tables / "corpus_chunks"))
    assert trained_corpus(place.workspace) == first
    assert trained_corpus(place.workspace, is_training=True) == second
    save_record(_judged(second), str(tables / "model_comparison"))
    assert trained_corpus(place.workspace) == second


def _judged(corpus: Corpus) -> Comparison:
    against = ReferenceComparison("base", "base-1", RetrievalMode("dense"), "not_shown", "for the test", ())
    return Comparison(
        candidate_model_version="tuned",
        candidate_mode=RetrievalMode("dense"),
        corpus_version=corpus.corpus_version,
        evaluation_set_version="evaluation-1",
        primary_metric="recall_at_5",
        verdict="not_shown",
        reason="for the test",
        against_base=against,
        against_serving=None,
        dense_against_base=against,
        certificate_digest="0" * 64,
        certificate_passed=True,
        query_count=10,
    )
