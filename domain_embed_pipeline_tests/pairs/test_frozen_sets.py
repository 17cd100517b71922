from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline.errors import EvaluationSetError
from domain_embed_pipeline.pairs.frozen_sets import FrozenEvaluationSet, freeze, refresh_evaluation_set
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, documents_of, evaluation_set_of, passage

_PARTS = [passage(number, sentences=4) for number in range(100, 104)]
_WHOLE = chunk_of(" ".join(_PARTS), "handbook.md")
_OTHER = documents_of(5)
_CORPUS = corpus_of([_WHOLE, *_OTHER])
_SET = evaluation_set_of({"what happened": [_WHOLE.chunk_id], "case one": [_OTHER[0].chunk_id]})
_FROZEN = freeze(_SET, _CORPUS)


def _answers(*chunks: object, frozen: FrozenEvaluationSet = _FROZEN) -> set[str]:
    corpus = corpus_of([*chunks, *_OTHER])  # type: ignore[list-item]
    made = refresh_evaluation_set(frozen, corpus)
    assert made is not None
    texts = {chunk.chunk_id: chunk.text for chunk in corpus.chunks}
    query = next(query for query in _SET.queries if query.text == "what happened")
    return {texts[chunk_id] for chunk_id in made.relevant_chunks().get(query.query_id, ())}


def test_an_unchanged_corpus_gives_the_same_set() -> None:
    made = refresh_evaluation_set(_FROZEN, _CORPUS)
    assert made is not None
    assert (made.queries, made.qrels) == (_SET.queries, tuple(sorted(_SET.qrels, key=lambda row: row.query_id)))


def test_an_edited_chunk_takes_the_place_of_the_old_one() -> None:
    edited = _WHOLE.text.replace("ward", "unit", 1)
    assert _answers(chunk_of(edited, "handbook.md")) == {edited}


def test_a_chunk_cut_in_two_is_answered_by_both_halves() -> None:
    halves = [" ".join(_PARTS[:2]), " ".join(_PARTS[2:])]
    assert _answers(*(chunk_of(half, "handbook.md") for half in halves)) == set(halves)


def test_a_chunk_that_moved_to_another_file_is_found() -> None:
    moved = _WHOLE.text + " One more line."
    assert _answers(chunk_of(moved, "archive/2024.md")) == {moved}


def test_a_passage_that_is_gone_makes_its_query_lost_and_leaves_the_others() -> None:
    made = refresh_evaluation_set(_FROZEN, corpus_of([chunk_of(passage(300), "handbook.md"), *_OTHER]))
    assert made is not None
    assert [query.text for query in made.queries] == ["case one"]
    assert [row.text for row in made.lost_queries] == ["what happened"]
    assert made.evaluation_set_version != _SET.evaluation_set_version


def test_without_passages_only_chunks_that_are_still_there_count() -> None:
    made = refresh_evaluation_set(_SET, corpus_of([chunk_of(_WHOLE.text + " Edited.", "handbook.md"), *_OTHER]))
    assert made is not None
    assert [query.text for query in made.queries] == ["case one"]


def test_new_documents_add_no_query() -> None:
    made = refresh_evaluation_set(_FROZEN, corpus_of([_WHOLE, *_OTHER, *documents_of(20, start=50)]))
    assert made is not None
    assert made.evaluation_set_version == refresh_evaluation_set(_FROZEN, _CORPUS).evaluation_set_version  # type: ignore[union-attr]


def test_a_corpus_that_answers_nothing_is_refused() -> None:
    with pytest.raises(EvaluationSetError, match="None of the 2 queries"):
        refresh_evaluation_set(_FROZEN, corpus_of(documents_of(5, start=70)))


def test_the_first_run_has_nothing_to_refresh() -> None:
    assert refresh_evaluation_set(None, _CORPUS) is None


def test_a_frozen_set_is_stored_and_read_back(tmp_path: Path) -> None:
    save_record(_FROZEN, str(tmp_path / "frozen"))
    assert load_record(FrozenEvaluationSet, str(tmp_path / "frozen")) == _FROZEN
