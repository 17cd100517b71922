"""Dev queries are searched over the whole corpus, or over its hardest chunks."""

from __future__ import annotations

import pytest

from domain_embed_pipeline.training.dev_set import DevScore, make_dev_set, score_on_dev, standard_error
from domain_embed_pipeline_tests.fakes import KeywordEncoder
from domain_embed_pipeline_tests.training.scenario import chunk_of, corpus_of, queries_of

WORDS = ["pump", "valve", "motor", "belt", "gear", "fuse"]
ENCODER = KeywordEncoder(WORDS)
CHUNKS = [
    chunk_of("pump"),
    chunk_of("pump valve"),
    chunk_of("valve motor"),
    chunk_of("motor"),
    *(chunk_of(f"nothing known, number {number}") for number in range(20)),
]
CORPUS = corpus_of(CHUNKS)


def test_without_dev_queries_there_is_no_dev_set() -> None:
    queries = queries_of([("pump", CHUNKS[0])], split="test")
    assert make_dev_set(CORPUS, queries, encoder=ENCODER, pool_size=100) is None


def test_a_small_corpus_is_searched_whole_and_encodes_nothing() -> None:
    encoder = KeywordEncoder(WORDS)
    dev = make_dev_set(CORPUS, queries_of([("pump", CHUNKS[0])]), encoder=encoder, pool_size=len(CHUNKS))
    assert dev is not None
    assert dev.is_whole_corpus
    assert len(dev.chunk_ids) == len(CHUNKS)
    assert encoder.encoded == []


def test_a_pool_holds_every_answer_and_the_nearest_chunks_and_is_filled_up_by_chance() -> None:
    answers = [("pump", CHUNKS[1]), ("motor", CHUNKS[20])]
    dev = make_dev_set(CORPUS, queries_of(answers), encoder=ENCODER, pool_size=8)
    assert dev is not None
    assert not dev.is_whole_corpus
    assert len(dev.chunk_ids) == 8
    assert {CHUNKS[1].chunk_id, CHUNKS[20].chunk_id} <= set(dev.chunk_ids)
    assert {CHUNKS[0].chunk_id, CHUNKS[3].chunk_id} <= set(dev.chunk_ids)
    assert dev == make_dev_set(CORPUS, queries_of(answers), encoder=ENCODER, pool_size=8)


def test_more_answers_than_the_pool_is_large_are_all_kept() -> None:
    answers = [(f"query {place}", chunk) for place, chunk in enumerate(CHUNKS[:6])]
    dev = make_dev_set(CORPUS, queries_of(answers), encoder=ENCODER, pool_size=3)
    assert dev is not None
    assert {chunk.chunk_id for chunk in CHUNKS[:6]} <= set(dev.chunk_ids)


def test_scores_are_those_worked_out_by_hand() -> None:
    # "pump": chunk 0 scores 1, chunk 1 scores 0.71: its answer is second. "valve": chunks 1 and 2 both score 0.71.
    answers = [("pump", CHUNKS[1]), ("motor", CHUNKS[3]), ("fuse", CHUNKS[0])]
    small = corpus_of([*CHUNKS[:4], *(chunk_of(f"gear {number}") for number in range(9))])
    dev = make_dev_set(small, queries_of(answers), encoder=ENCODER, pool_size=100)
    assert dev is not None
    score = score_on_dev(ENCODER, dev)
    assert score.recall_at_5[:2] == (1.0, 1.0)
    assert score.ndcg_at_10[:2] == (pytest.approx(0.6309, abs=1e-4), 1.0)
    assert score.selection[0] == pytest.approx((1 + 0.6309) / 2, abs=1e-4)


def test_means_and_gain_over_the_start() -> None:
    start, now = DevScore((0.0, 1.0), (0.0, 1.0)), DevScore((1.0, 1.0), (0.5, 1.0))
    assert now.means() == {"recall_at_5": 1.0, "ndcg_at_10": 0.75, "selection": 0.875}
    gain, error = now.gain_over(start)
    assert (gain, error) == (0.375, pytest.approx(0.375))


def test_the_standard_error_of_one_value_is_unknown_and_given_as_zero() -> None:
    assert standard_error([0.3]) == 0.0
    assert standard_error([0.0, 1.0]) == pytest.approx(0.5)
