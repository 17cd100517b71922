from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline import sequences, tables
from domain_embed_pipeline.encoding import expansion
from domain_embed_pipeline.encoding.expansion import (
    QUESTION_SHARE,
    encode_chunks,
    expand_corpus,
    expansion_version,
    is_expanded,
    without_questions,
)
from domain_embed_pipeline.ids import pair_id_of
from domain_embed_pipeline.records import Corpus, PairSource, TrainingPair
from domain_embed_pipeline_tests.evaluation.helpers import chunk_of, corpus_of, evaluation_set_of
from domain_embed_pipeline_tests.fakes import KeywordEncoder

CORPUS = corpus_of([chunk_of("c-mi", "infarction care"), chunk_of("c-af", "fibrillation care")])
ENCODER = KeywordEncoder(["infarction", "fibrillation", "mi", "af"])
USER_SET = evaluation_set_of({"q-1": ("mi", "test", ["c-mi"])})


def pair_of(anchor: str, chunk_id: str, source: PairSource = "question") -> TrainingPair:
    return TrainingPair(pair_id_of(anchor, chunk_id), anchor, "text", chunk_id, source, "natural")


def test_a_chunk_gets_the_questions_that_were_let_into_training_and_no_other_pairs() -> None:
    pairs = [pair_of("mi what now", "c-mi"), pair_of("mi drugs", "c-mi"), pair_of("a click", "c-af", "user")]
    expanded = expand_corpus(CORPUS, pairs, USER_SET)
    assert [chunk.questions for chunk in expanded.chunks] == [("mi what now", "mi drugs"), ()]
    assert expanded.chunks[0].expanded_text == "infarction care\nmi what now\nmi drugs"
    assert expanded.corpus_version == CORPUS.corpus_version
    assert without_questions(expanded.chunks) == CORPUS.chunks


def test_generated_evaluation_queries_expand_nothing_because_their_own_documents_could_not_be() -> None:
    generated = dataclasses.replace(USER_SET, origin="generated")
    assert not is_expanded(expand_corpus(CORPUS, [pair_of("mi", "c-mi")], generated).chunks)


def test_an_expanded_vector_lies_between_its_text_and_the_mean_of_its_questions() -> None:
    expanded = expand_corpus(CORPUS, [pair_of("mi", "c-mi"), pair_of("mi af", "c-mi")], USER_SET)
    vectors = encode_chunks(ENCODER, expanded.chunks)
    mean = np.array([0, 0, 1 + 0.5**0.5, 0.5**0.5])
    wanted = (1 - QUESTION_SHARE) * np.array([1, 0, 0, 0]) + QUESTION_SHARE * mean / np.linalg.norm(mean)
    assert vectors[0] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)
    assert vectors[1] == pytest.approx([0, 1, 0, 0])


def test_without_questions_vectors_are_those_of_the_texts() -> None:
    assert np.array_equal(
        encode_chunks(ENCODER, CORPUS.chunks),
        ENCODER.encode_passages([chunk.embedding_text for chunk in CORPUS.chunks]),
    )


def test_parts_do_not_change_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    expanded = expand_corpus(CORPUS, [pair_of("mi", "c-mi"), pair_of("af", "c-af")], USER_SET)
    whole = encode_chunks(ENCODER, expanded.chunks)
    monkeypatch.setattr(expansion, "CHUNKS_AT_ONCE", 1)
    assert np.array_equal(encode_chunks(ENCODER, expanded.chunks), whole)


class LengthEncoder(KeywordEncoder):
    """Keeps no text."""

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_memory_does_not_grow_with_a_stored_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 100)
    monkeypatch.setattr(sequences, "KEPT_GROUPS", 2)
    monkeypatch.setattr(expansion, "CHUNKS_AT_ONCE", 200)
    peaks = {}
    for count in (1_000, 8_000):
        chunks = [chunk_of(f"c-{number}", f"{number} " + "word " * 400) for number in range(count)]
        tables.save_record(corpus_of(chunks), tmp_path / str(count))
        del chunks
        corpus = tables.load_record(Corpus, tmp_path / str(count))
        tracemalloc.start()
        vectors = encode_chunks(LengthEncoder(["length"]), expand_corpus(corpus, [], USER_SET).chunks)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(vectors) == count
        assert vectors.min() > 2_000
    assert peaks[8_000] < 1.3 * peaks[1_000]
    assert peaks[8_000] < 2_000 * 1_000, "the texts alone are 16 MB"


def test_the_version_names_the_questions_and_is_empty_without_any() -> None:
    one = expand_corpus(CORPUS, [pair_of("mi", "c-mi")], USER_SET).chunks
    other = expand_corpus(CORPUS, [pair_of("mi", "c-af")], USER_SET).chunks
    assert expansion_version(CORPUS.chunks) == ""
    assert expansion_version(one) == expansion_version(tuple(reversed(one)))
    assert len({expansion_version(one), expansion_version(other), ""}) == 3
