from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from domain_embed_pipeline.bench.stopwatch import Stopwatch, TimedEncoder, peak_memory_mb
from domain_embed_pipeline_tests.fakes import KeywordEncoder


def _clock(*times: float) -> Callable[[], float]:
    ticks: Iterator[float] = iter(times)
    return lambda: next(ticks)


def test_a_stage_inside_another_takes_its_time_from_the_outer_one() -> None:
    watch = Stopwatch(_clock(0, 10, 13, 20))
    with watch.stage("train"), watch.stage("encode"):
        pass
    assert watch.seconds == {"train": 10 + 7, "encode": 3}


def test_a_stage_that_runs_twice_adds_up_and_pauses_count_for_nothing() -> None:
    watch = Stopwatch(_clock(0, 1, 100, 102))
    for _ in range(2):
        with watch.stage("train"):
            pass
    assert watch.seconds == {"train": 1 + 2}


def test_the_time_of_a_stage_that_fails_is_kept() -> None:
    watch = Stopwatch(_clock(0, 5))
    with pytest.raises(ValueError, match="no"), watch.stage("mine"):
        raise ValueError("no")
    assert watch.seconds == {"mine": 5}


def test_passages_are_counted_and_timed_and_queries_are_not() -> None:
    counts: list[int] = []
    watch = Stopwatch()
    encoder = TimedEncoder(KeywordEncoder(["tea", "salt"]), watch, counts.append)
    encoder.encode_queries(["tea"])
    assert watch.seconds == {}
    assert encoder.encode_passages(["tea", "salt"]).shape[0] == 2
    assert counts == [2]
    assert list(watch.seconds) == ["encode"]


def test_peak_memory_is_that_of_the_process_itself() -> None:
    code = "from domain_embed_pipeline.bench.stopwatch import peak_memory_mb; print(peak_memory_mb())"
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    child = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout)
    assert peak_memory_mb() > 300
    assert child < peak_memory_mb() - 200
    assert len(ballast)
