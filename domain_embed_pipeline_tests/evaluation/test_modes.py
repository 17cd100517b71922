from __future__ import annotations

import numpy as np
import pytest

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.fusion import DENSE, SPARSE
from domain_embed_pipeline.evaluation.modes import (
    ModeSettings,
    candidate_modes,
    choose_mode,
    score_modes,
    unchosen_mode,
)
from domain_embed_pipeline.evaluation.records import Ranking


def ranking_with(answer: str, rank: int, name: str) -> Ranking:
    """Twenty chunks of one side only, the answer at this rank (from 1)."""
    chunk_ids = [f"{name}-{place}" for place in range(20)]
    chunk_ids[rank - 1] = answer
    return Ranking(tuple(chunk_ids), tuple(1 - place / 20 for place in range(20)))


def rankings(dense_ranks: list[int], sparse_ranks: list[int]) -> tuple[list[Ranking], list[Ranking], list[set[str]]]:
    answers = [{f"answer-{place}"} for place in range(len(dense_ranks))]
    dense = [ranking_with(f"answer-{place}", rank, "dense") for place, rank in enumerate(dense_ranks)]
    sparse = [ranking_with(f"answer-{place}", rank, "sparse") for place, rank in enumerate(sparse_ranks)]
    return dense, sparse, answers


def test_dense_stays_when_it_finds_everything() -> None:
    assert choose_mode(*rankings([1] * 60, [8] * 60)) == DENSE


def test_bm25_alone_is_chosen_when_vectors_only_do_harm() -> None:
    assert choose_mode(*rankings([20] * 60, [1] * 60)) == SPARSE


def test_fusion_is_chosen_when_each_side_finds_what_the_other_misses() -> None:
    mode = choose_mode(*rankings([1, 15] * 60, [15, 1] * 60))
    assert mode.kind == "hybrid"
    assert mode.sparse_weight > 0


def test_bm25_alone_does_not_replace_dense_for_a_gain_within_noise() -> None:
    # BM25 gains ten queries and loses nine: less than one standard error.
    dense, sparse = [1] * 40 + [6] * 10 + [1] * 9, [1] * 40 + [1] * 10 + [6] * 9
    assert choose_mode(*rankings(dense, sparse)) != SPARSE


def test_few_dev_queries_try_one_fusion_only() -> None:
    few, many = (candidate_modes(count, ModeSettings()) for count in (99, 100))
    assert {mode.fusion for mode in few} == {"none", "dbsf"}
    assert {mode.fusion for mode in many} == {"none", "dbsf", "rrf"}


def test_too_few_dev_queries_take_the_mode_that_needs_no_choice_whatever_they_say() -> None:
    assert choose_mode(*rankings([1] * 9, [20] * 9)) == unchosen_mode()
    assert (unchosen_mode().fusion, unchosen_mode().sparse_weight) == ("dbsf", 1.0)


def test_few_queries_hold_the_weight_near_one_and_many_let_it_go() -> None:
    # BM25 is right more often where the two disagree, so a large weight is best.
    pattern = ([1, 20, 20, 20], [20, 1, 1, 1])
    few, many = (choose_mode(*rankings(*(side * times for side in pattern))) for times in (3, 60))
    assert few.kind == "hybrid"
    assert abs(np.log2(few.sparse_weight)) <= abs(np.log2(many.sparse_weight or 8.0))


def test_an_accident_of_a_few_queries_does_not_throw_fusion_out() -> None:
    # Dense is ahead by one query of twelve: less than a standard error.
    dense, sparse = [1] * 6 + [8] * 5 + [1], [8] * 6 + [1] * 5 + [20]
    assert choose_mode(*rankings(dense, sparse)).kind == "hybrid"


def test_equally_good_random_sides_do_not_bring_bm25_in_alone() -> None:
    generator = np.random.default_rng(5)
    chosen = []
    for _ in range(5):
        ranks = generator.integers(1, 12, size=(2, 200)).tolist()
        chosen.append(choose_mode(*rankings(*ranks)))
    assert SPARSE not in chosen


def test_the_table_holds_every_mode_and_marks_the_chosen_one() -> None:
    dev = rankings([1, 6] * 30, [6, 6] * 30)
    table = score_modes(*dev)
    assert [mode for mode, score in table if score.chosen] == [choose_mode(*dev)]
    assert tuple(mode for mode, _ in table) == candidate_modes(60, ModeSettings())
    assert [score.primary for _, score in table[:2]] == [0.5, 0.0]


def test_no_dev_query_is_refused() -> None:
    with pytest.raises(EvaluationError, match="0 dev queries"):
        choose_mode([], [], [])


def test_expanded_chunks_are_chosen_when_their_questions_find_what_nothing_else_does() -> None:
    dense, _, answers = rankings([15] * 60, [1] * 60)
    sparse = [ranking_with("nobody's answer", 1, "sparse")] * 60
    mode = choose_mode(dense, sparse, answers, expanded=(rankings([1] * 60, [1] * 60)[0], sparse))
    assert (mode.kind, mode.expanded) == ("dense", True)


def test_expansion_that_brings_nothing_is_left_out() -> None:
    dense, sparse, answers = rankings([1, 2] * 30, [8] * 60)
    assert not choose_mode(dense, sparse, answers, expanded=(dense, sparse)).expanded


def test_too_few_dev_queries_do_not_decide_for_expansion_either() -> None:
    dense, sparse, answers = rankings([20] * 9, [20] * 9)
    assert choose_mode(dense, sparse, answers, expanded=rankings([1] * 9, [1] * 9)[:2]) == unchosen_mode()
