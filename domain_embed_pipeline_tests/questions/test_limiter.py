from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime

import pytest

from domain_embed_pipeline.questions.limiter import RateLimiter


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def limiter(clock: Clock, *, per_minute: float = 600, ceiling_s: float = 60.0) -> RateLimiter:
    return RateLimiter(
        per_minute,
        ceiling_s=ceiling_s,
        clock=clock,
        sleep=clock.sleep,
        now=lambda: datetime.fromtimestamp(clock.now, UTC),
    )


def test_starts_are_evenly_spaced() -> None:
    clock = Clock()
    subject = limiter(clock)
    starts = []
    for _ in range(5):
        assert subject.acquire()
        starts.append(clock.now)
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == pytest.approx([0.1] * 4)


def test_no_time_that_was_not_used_is_made_up_for() -> None:
    clock = Clock()
    subject = limiter(clock)
    subject.acquire()
    clock.now += 60
    subject.acquire()
    subject.acquire()
    assert clock.slept == [pytest.approx(0.1)]


def test_a_pause_holds_everybody_back_and_the_spacing_goes_on_after_it() -> None:
    clock = Clock()
    subject = limiter(clock)
    subject.acquire()
    assert subject.pause(5.0) == 5.0
    subject.acquire()
    assert clock.now == pytest.approx(105.0)
    subject.acquire()
    assert clock.now == pytest.approx(105.1)


def test_a_server_cannot_impose_a_longer_pause_than_the_ceiling() -> None:
    clock = Clock()
    subject = limiter(clock, ceiling_s=60.0)
    assert subject.pause(4_000_000) == 60.0
    assert subject.pause(-5) == 0.0


def test_a_pause_that_comes_while_a_thread_waits_gives_it_a_later_turn() -> None:
    clock = Clock()
    subject = limiter(clock)
    subject.acquire()

    def sleep_and_be_paused(seconds: float) -> None:
        if not clock.slept:
            subject.pause(3.0)
        clock.sleep(seconds)

    subject._sleep = sleep_and_be_paused
    subject.acquire()
    assert clock.now >= 103.0


def test_an_exhausted_limit_pauses_until_its_reset() -> None:
    clock = Clock()
    subject = limiter(clock)
    subject.observe(
        {
            "anthropic-ratelimit-output-tokens-remaining": "0",
            "anthropic-ratelimit-output-tokens-reset": datetime.fromtimestamp(112.0, UTC).isoformat(),
        }
    )
    subject.acquire()
    assert clock.now == pytest.approx(112.0)


def test_a_lower_limit_of_the_server_slows_down_and_a_higher_one_changes_nothing() -> None:
    subject = limiter(Clock(), per_minute=600)
    subject.observe({"anthropic-ratelimit-requests-limit": "50"})
    assert subject.interval_s == pytest.approx(1.2)
    subject.observe({"anthropic-ratelimit-requests-limit": "4000"})
    assert subject.interval_s == pytest.approx(1.2)


def test_headers_that_make_no_sense_are_no_reason_to_stop() -> None:
    clock = Clock()
    subject = limiter(clock)
    subject.observe({"anthropic-ratelimit-requests-limit": "many", "anthropic-ratelimit-requests-remaining": "few"})
    subject.observe({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "soon"})
    subject.acquire()
    assert clock.now == pytest.approx(101.0)


def test_a_run_that_is_being_stopped_gets_no_turn() -> None:
    stopping = threading.Event()
    subject = RateLimiter(1, ceiling_s=60, sleep=stopping.wait)
    assert subject.acquire()
    threading.Timer(0.05, stopping.set).start()
    assert not subject.acquire()
