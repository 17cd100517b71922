from __future__ import annotations

import random
from pathlib import Path

import pytest

from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer, Fault
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks

_WEATHER = [("rate_limited", 0.10), ("overloaded", 0.08), ("server_error", 0.07), ("slow", 0.03), ("cut_before", 0.05),
            ("cut_after", 0.04), ("not_json", 0.03)]  # fmt: skip


def weather(number: int) -> Fault | None:
    """The fault of the n-th request: four in ten go wrong."""
    roll = random.Random(number).random()
    for kind, share in _WEATHER:
        if roll < share:
            return Fault(kind, {"rate_limited": 0.2, "slow": 0.6}.get(kind, 0.0))
        roll -= share
    return None


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_storm_is_weathered_under_the_ceiling_and_under_the_rate(tmp_path: Path, count: int) -> None:
    chunks = make_chunks(count)
    per_minute, ceiling = 3000, 0.00045 * count
    with FakeMessagesServer(latency_s=0.01) as server, Ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        server.storm = weather
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        settings = fast(requests_per_minute=per_minute, request_timeout_s=0.4, max_concurrency=16, max_cost_usd=ceiling)
        result = generate_questions(chunks, settings=settings, ledger=ledger, client=client)
        assert (result.stopped_reason, result.unanswered) == (None, 0)
        assert {question.chunk_id for question in result.questions} == {chunk.chunk_id for chunk in chunks}
        assert server.cost_usd <= result.cost_usd + result.uncertain_cost_usd <= ceiling
        assert len(server.started_at) > 1.3 * count
        starts = sorted(server.started_at)
        # Requests start 20 ms apart: 50 in a second, and a tenth more for threads that the machine held up.
        windows = (sum(start <= other < start + 1 for other in starts[i : i + 200]) for i, start in enumerate(starts))
        assert max(windows) <= per_minute / 60 * 1.1


def test_a_storm_that_would_pass_the_ceiling_stops_under_it(sqlite_ledger: Ledger) -> None:
    with FakeMessagesServer() as server:
        server.storm = weather
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        settings = fast(request_timeout_s=0.4, max_cost_usd=0.004)
        result = generate_questions(make_chunks(100), settings=settings, ledger=sqlite_ledger, client=client)
        assert result.stopped_reason is not None
        assert result.stopped_reason.startswith("budget")
        assert server.cost_usd <= 0.004
        assert 0 < result.asked < 100
