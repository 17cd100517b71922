"""Both ways do the same work in turn, and what is compared is their ratio."""

from __future__ import annotations

import time

import pytest

from domain_embed_pipeline.bench.encode_speed import encode_speed
from domain_embed_pipeline.bench.speed import Speed, Turn, parts_of, take_turns
from domain_embed_pipeline.bench.train_speed import train_speed
from domain_embed_pipeline.errors import TooFewPairsError
from domain_embed_pipeline_tests.bench.scenario import BeirFolder


def test_the_ratio_is_the_median_of_the_turns() -> None:
    turns = tuple(Turn(10, tutorial, 1.0, 6.0, 2.0) for tutorial in (2.0, 3.0, 50.0))
    speed = Speed("work", "chunks", turns, ("a note",))
    assert (speed.ratio, speed.cpu_ratio) == (3.0, 3.0)
    assert speed.rates() == (pytest.approx(10 / 3), 10.0)
    assert speed.lines()[0].startswith("work: 10.0 chunks/s against 3.3 of the tutorial's way: 3.00 times (3.00 by")
    assert speed.lines()[1] == "a note"


def test_parts_hold_every_place_once_and_none_is_empty() -> None:
    assert parts_of(5, 3) == [[0, 3], [1, 4], [2]]
    assert parts_of(1, 3) == [[0]]


def test_each_part_is_done_both_ways_and_the_slower_way_is_told() -> None:
    done: list[tuple[str, list[int]]] = []

    def slow(part: list[int]) -> None:
        done.append(("tutorial", part))
        time.sleep(0.03)

    turns = take_turns([[0, 2], [1]], slow, lambda part: done.append(("ours", part)))
    assert [name for name, _ in done] == ["tutorial", "ours", "ours", "tutorial"]
    assert [turn.units for turn in turns] == [2, 1]
    assert all(turn.tutorial_s > 0.03 > turn.ours_s for turn in turns)


def test_encoding_is_compared_on_every_chunk(beir: BeirFolder, tiny_model: str) -> None:
    speed = encode_speed(beir.folder, base_model=tiny_model, repeats=2)
    assert sum(turn.units for turn in speed.turns) == 400
    cosine, recall = speed.notes
    assert "mean 1.0000" in cosine or "mean 0.999" in cosine
    first, second = (float(word) for word in recall.split(": ")[1].split(" and "))
    assert first == pytest.approx(second, abs=0.02)


@pytest.mark.slow
def test_training_steps_are_compared_on_the_same_pairs(beir: BeirFolder, tiny_model: str) -> None:
    speed = train_speed(beir.folder, beir.questions, base_model=tiny_model, repeats=1)
    (turn,) = speed.turns
    assert turn.units == 192
    assert turn.ours_s > 0
    assert turn.tutorial_s > 0


def test_too_few_pairs_to_compare_are_named(beir: BeirFolder, tiny_model: str) -> None:
    with pytest.raises(TooFewPairsError, match="260 pairs for 5 turns"):
        train_speed(beir.folder, beir.questions, base_model=tiny_model)
