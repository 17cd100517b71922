from __future__ import annotations

import dataclasses
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.ids import pair_id_of
from domain_embed_pipeline.pairs.evaluation_sets import generated_evaluation_set
from domain_embed_pipeline.pairs.records import StructuralPairs, TrainingPairs, UserPairs
from domain_embed_pipeline.pairs.splits import chunk_sides, split_documents
from domain_embed_pipeline.pairs.structural import structural_pairs
from domain_embed_pipeline.pairs.training_pairs import (
    PairCandidates,
    PairTools,
    TrainingPairSettings,
    build_training_pairs,
    held_out_chunks,
)
from domain_embed_pipeline.records import Chunk, Question, TrainingPair
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.pairs.helpers import (
    SynonymEncoder,
    chunk_of,
    corpus_of,
    documents_of,
    evaluation_set_of,
    passage,
    question_of,
)

_CORPUS = corpus_of(documents_of(60))
_HELD = split_documents(_CORPUS, has_user_queries=False)
_OPEN = split_documents(_CORPUS, has_user_queries=True)
_TOPICS = {
    "cause": "why did it happen in {}",
    "treatment": "{} therapy",
    "outlook": "what becomes of patients like {}",
    "dose": "which milligrams were given to {} and how often",
    "warning": "danger signs, {}",
}


def _questions(chunk: Chunk) -> list[Question]:
    name = chunk.title.replace(" > ", " ")
    return [question_of(chunk, wording.format(name), topic) for topic, wording in _TOPICS.items()]


_QUESTIONS = [question for chunk in _CORPUS.chunks for question in _questions(chunk)]
_NO_QUERIES = evaluation_set_of(["a query about nothing that is in here"])


def _user_pair(anchor: str, chunk: Chunk) -> TrainingPair:
    positive = chunk.embedding_text
    return TrainingPair(pair_id_of(anchor, positive), anchor, positive, chunk.chunk_id, "user", "user")


def test_a_question_goes_with_the_text_that_encoders_see() -> None:
    made = build_training_pairs(_CORPUS, _OPEN, PairCandidates(_QUESTIONS), evaluation_set=_NO_QUERIES)
    texts = {chunk.chunk_id: chunk.embedding_text for chunk in _CORPUS.chunks}
    assert len(made.pairs) == len(_QUESTIONS)
    assert all(pair.positive == texts[pair.chunk_id] for pair in made.pairs)
    assert {pair.style for pair in made.pairs} == set(_TOPICS)
    assert list(made.pairs) == sorted(made.pairs, key=lambda pair: pair.pair_id)


def test_no_pair_comes_from_a_held_out_document_and_the_certificate_passes() -> None:
    evaluation_set = generated_evaluation_set(_CORPUS, _HELD, _QUESTIONS)
    made = build_training_pairs(
        _CORPUS,
        _HELD,
        PairCandidates(_QUESTIONS, structural=structural_pairs(_CORPUS, _HELD)),
        evaluation_set=evaluation_set,
    )
    sides = chunk_sides(_CORPUS, _HELD)
    assert {sides[pair.chunk_id] for pair in made.pairs} == {"train"}
    assert made.certificate.passed
    assert made.certificate.pairs_version == made.pairs_version
    held_out = [row for row in made.rejected if row.reason == "held_out"]
    assert len(held_out) == sum(sides[question.chunk_id] != "train" for question in _QUESTIONS)


def test_a_passage_in_documents_on_both_sides_is_found_and_taken_out_of_training() -> None:
    notice = passage(99)
    corpus = corpus_of([*_CORPUS.chunks, *(chunk_of(notice, f"d{number:03}.md") for number in range(60))])
    splits = split_documents(corpus, has_user_queries=False)
    shared = next(chunk for chunk in corpus.chunks if chunk.text == notice)
    questions = [*_QUESTIONS, question_of(shared, "what the notice on the door says")]
    evaluation_set = generated_evaluation_set(corpus, splits, questions)
    made = build_training_pairs(corpus, splits, PairCandidates(questions), evaluation_set=evaluation_set)
    row = next(row for row in made.certificate.detectors if row.detector == "held_out_chunk")
    assert (row.found, row.removed, row.remaining) == (1, 1, 0)
    assert [row.anchor for row in made.rejected if row.reason == "leak_held_out_chunk"] == [
        "what the notice on the door says"
    ]


def test_answers_of_a_frozen_generated_set_stay_out_when_the_split_has_moved_on() -> None:
    evaluation_set = generated_evaluation_set(_CORPUS, _HELD, _QUESTIONS)
    answers = {row.chunk_id for row in evaluation_set.qrels}
    assert answers <= held_out_chunks(_CORPUS, _OPEN, evaluation_set)
    made = build_training_pairs(_CORPUS, _OPEN, PairCandidates(_QUESTIONS), evaluation_set=evaluation_set)
    assert not answers & {pair.chunk_id for pair in made.pairs}


def test_a_click_log_with_test_queries_is_cleaned_and_the_test_set_is_not() -> None:
    query = "elevated troponin after marathon running"
    variants = {
        "leak_exact": "Elevated troponin after marathon running?",
        "leak_shingle": "marathon running after elevated troponin",
        "leak_embedding": "raised TnT post marathon race",
    }
    texts = [*variants.values(), "gout in pregnancy"]
    pairs = [_user_pair(text, chunk) for text, chunk in zip(texts, _CORPUS.chunks, strict=False)]
    evaluation_set = evaluation_set_of({query: [_CORPUS.chunks[0].chunk_id]})
    encoder = SynonymEncoder("elevated raised", "running race", "after post", "troponin tnt")
    made = build_training_pairs(
        _CORPUS,
        _OPEN,
        PairCandidates(_QUESTIONS, user_pairs=UserPairs(tuple(pairs), ())),
        evaluation_set=evaluation_set,
        tools=PairTools(encoder=encoder),
    )
    assert {row.reason: row.anchor for row in made.rejected if row.reason.startswith("leak")} == variants
    assert [pair.anchor for pair in made.pairs if pair.source == "user"] == ["gout in pregnancy"]
    assert made.certificate.passed
    assert made.certificate.encoder_fingerprint == encoder.spec.fingerprint
    assert made.certificate.query_count == 1


def test_structural_pairs_cannot_drown_questions() -> None:
    structural = structural_pairs(_CORPUS, _OPEN)
    questions = _QUESTIONS[:60]
    made = build_training_pairs(
        _CORPUS,
        _OPEN,
        PairCandidates(questions, structural=structural),
        evaluation_set=_NO_QUERIES,
        settings=TrainingPairSettings(structural_share=0.5, structural_floor=0),
    )
    counts = Counter(pair.source for pair in made.pairs)
    assert counts == {"question": 60, "title_body": 30}
    mix = {row.source: (row.candidates, row.kept) for row in made.mix}
    assert mix["title_body"][0] == sum(pair.source == "title_body" for pair in structural.pairs)
    assert sum(row.share for row in made.mix) == pytest.approx(1.0)


def test_structural_pairs_fill_up_where_there_are_few_questions() -> None:
    structural = structural_pairs(_CORPUS, _OPEN)
    made = build_training_pairs(
        _CORPUS,
        _OPEN,
        PairCandidates(_QUESTIONS[:10], structural=structural),
        evaluation_set=_NO_QUERIES,
        settings=TrainingPairSettings(structural_floor=40),
    )
    assert Counter(pair.source for pair in made.pairs) == {"question": 10, "title_body": 30}


@pytest.mark.parametrize(("below", "sentences"), [(23, 18), (22, 0)])
def test_sentences_fill_up_only_where_all_else_is_too_little(below: int, sentences: int) -> None:
    structural = structural_pairs(_CORPUS, _OPEN)
    titles = [pair for pair in structural.pairs if pair.source == "title_body"]
    others = [pair for pair in structural.pairs if pair.source == "adjacent_sentence"]
    made = build_training_pairs(
        _CORPUS,
        _OPEN,
        PairCandidates(_QUESTIONS[:10], structural=dataclasses.replace(structural, pairs=(*titles[:12], *others))),
        evaluation_set=_NO_QUERIES,
        settings=TrainingPairSettings(structural_floor=40, sentences_below=below),
    )
    counts = Counter(pair.source for pair in made.pairs)
    assert (counts["question"], counts["title_body"], counts["adjacent_sentence"]) == (10, 12, sentences)


@pytest.mark.parametrize(
    ("floor", "expected"), [(100, {"title_body": 120}), (130, {"title_body": 120, "adjacent_sentence": 10})]
)
def test_without_questions_all_titles_carry_the_run_and_sentences_fill_up(floor: int, expected: dict[str, int]) -> None:
    made = build_training_pairs(
        _CORPUS,
        _OPEN,
        PairCandidates(structural=structural_pairs(_CORPUS, _OPEN)),
        evaluation_set=_NO_QUERIES,
        settings=TrainingPairSettings(structural_floor=floor, sentences_below=125),
    )
    assert Counter(pair.source for pair in made.pairs) == expected


def test_every_candidate_is_either_kept_or_rejected_with_a_reason() -> None:
    structural = structural_pairs(_CORPUS, _HELD)
    gone = Question("g-gone", "c-gone", "natural", "what about a chunk that is gone", "test")
    made = build_training_pairs(
        _CORPUS,
        _HELD,
        PairCandidates([*_QUESTIONS, gone], structural=structural),
        evaluation_set=generated_evaluation_set(_CORPUS, _HELD, _QUESTIONS),
        settings=TrainingPairSettings(max_questions_per_chunk=2, max_pairs=150),
    )
    assert len(made.pairs) + len(made.rejected) == len(_QUESTIONS) + 1 + len(structural.pairs)
    assert all(row.reason for row in made.rejected)
    assert {row.reason: row.count for row in made.drops} == Counter(row.reason for row in made.rejected)
    assert ("c-gone", "unknown_chunk") in {(row.chunk_id, row.reason) for row in made.rejected}
    assert max(Counter(pair.chunk_id for pair in made.pairs if pair.source == "question").values()) <= 2
    assert len(made.pairs) <= 150


def test_the_order_of_candidates_changes_nothing() -> None:
    structural = structural_pairs(_CORPUS, _OPEN)
    turned = StructuralPairs(tuple(reversed(structural.pairs)), structural.counts)
    made = [
        build_training_pairs(
            _CORPUS,
            _OPEN,
            PairCandidates(questions, structural=pairs),
            evaluation_set=_NO_QUERIES,
            settings=TrainingPairSettings(max_questions_per_chunk=3),
        )
        for questions, pairs in ((_QUESTIONS, structural), (list(reversed(_QUESTIONS)), turned))
    ]
    assert made[0] == made[1]


def test_pairs_rejections_and_certificate_are_stored_and_read_back(tmp_path: Path) -> None:
    made = build_training_pairs(
        _CORPUS, _HELD, PairCandidates(_QUESTIONS), evaluation_set=generated_evaluation_set(_CORPUS, _HELD, _QUESTIONS)
    )
    save_record(made, str(tmp_path / "pairs"))
    assert load_record(TrainingPairs, str(tmp_path / "pairs")) == made


def test_remembered_verdicts_change_nothing_but_the_time(tmp_path: Path) -> None:
    evaluation_set = generated_evaluation_set(_CORPUS, _HELD, _QUESTIONS)
    plain = build_training_pairs(_CORPUS, _HELD, PairCandidates(_QUESTIONS), evaluation_set=evaluation_set)
    for questions in (_QUESTIONS[: len(_QUESTIONS) // 2], _QUESTIONS):
        made = build_training_pairs(
            _CORPUS,
            _HELD,
            PairCandidates(questions),
            evaluation_set=evaluation_set,
            tools=PairTools(memo_folder=tmp_path / "memo"),
        )
    assert made == plain


def test_each_reason_has_samples_spread_over_what_it_dropped() -> None:
    junk = [
        question_of(chunk, "What does this passage say?", f"style {place}")
        for place, chunk in enumerate(_CORPUS.chunks)
    ]
    made = build_training_pairs(
        _CORPUS, _OPEN, PairCandidates([*junk, question_of(_CORPUS.chunks[0], "HIT")]), evaluation_set=_NO_QUERIES
    )
    samples = made.drop_samples(per_reason=7)
    assert [row.reason for row in samples] == ["context_dependent"] * 7 + ["too_short"]
    assert len(set(samples)) == 8
    assert set(samples) <= set(made.rejected)
    assert len(made.drop_samples()) == 21


_FEW = documents_of(25)
_FEW_QUESTIONS = [question for chunk in _FEW for question in _questions(chunk)]


def _versions(chunks: list[Chunk], questions: list[Question]) -> tuple[str, ...]:
    corpus = corpus_of(chunks)
    splits = split_documents(corpus, has_user_queries=False)
    queries = generated_evaluation_set(corpus, splits, questions)
    made = build_training_pairs(
        corpus, splits, PairCandidates(questions, structural=structural_pairs(corpus, splits)), evaluation_set=queries
    )
    return corpus.corpus_version, splits.splits_version, queries.evaluation_set_version, made.pairs_version


_VERSIONS = _versions(_FEW, _FEW_QUESTIONS)


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_version_depends_on_the_order_of_files_or_questions(rng: random.Random) -> None:
    chunks, questions = rng.sample(_FEW, len(_FEW)), rng.sample(_FEW_QUESTIONS, len(_FEW_QUESTIONS))
    assert _versions(chunks, questions) == _VERSIONS
