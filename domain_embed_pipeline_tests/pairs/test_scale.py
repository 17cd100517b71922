"""Time of the whole room against the size of the corpus."""

from __future__ import annotations

import time

import pytest

from domain_embed_pipeline.pairs.evaluation_sets import generated_evaluation_set
from domain_embed_pipeline.pairs.splits import split_documents
from domain_embed_pipeline.pairs.structural import structural_pairs
from domain_embed_pipeline.pairs.training_pairs import build_training_pairs
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline_tests.pairs.helpers import corpus_of, documents_of, question_of


def _processor_seconds(chunks: list[Chunk]) -> float:
    corpus = corpus_of(chunks)
    questions = [
        question_of(chunk, f"{style} of {' '.join(chunk.text.split()[place : place + 5])}")
        for chunk in corpus.chunks
        for place, style in ((3, "cause"), (20, "treatment"), (40, "outlook"))
    ]
    started = time.process_time()
    splits = split_documents(corpus, has_user_queries=False)
    evaluation_set = generated_evaluation_set(corpus, splits, questions)
    made = build_training_pairs(
        corpus,
        splits,
        questions=questions,
        structural=structural_pairs(corpus, splits),
        evaluation_set=evaluation_set,
    )
    assert made.certificate.passed
    assert len(made.pairs) > len(corpus.chunks)
    return time.process_time() - started


@pytest.mark.slow
def test_four_times_the_corpus_takes_about_four_times_as_long() -> None:
    chunks = documents_of(1_000, chunks_each=8)
    _processor_seconds(chunks[:400])  # what is loaded once
    small, large = _processor_seconds(chunks[:2_000]), _processor_seconds(chunks)
    assert large < 6 * small
    # 100,000 chunks in ten minutes on one core.
    assert large < 8_000 * 600 / 100_000
