from __future__ import annotations

import pytest

from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.estimate import estimate
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.ledger import Ledger, RecordedQuestion
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks

CHUNKS = make_chunks(100, sentences=10)


@pytest.mark.parametrize("asks_server", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("mode", "prompt_caching", "field"),
    [
        ("direct", False, "direct_usd"),
        ("direct", True, "direct_cached_usd"),
        ("batch", False, "batch_usd"),
        ("batch", True, "batch_cached_usd"),
    ],
)
def test_the_estimate_is_within_fifteen_percent_of_the_bill(
    sqlite_ledger: Ledger,
    client: MessagesClient,
    server: FakeMessagesServer,
    mode: str,
    prompt_caching: bool,
    field: str,
    asks_server: bool,
) -> None:
    settings = fast(mode=mode, prompt_caching=prompt_caching)
    guess = estimate(CHUNKS, settings, sqlite_ledger, client=client if asks_server else None)
    assert server.paid == []
    generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert getattr(guess, field) == pytest.approx(server.cost_usd, rel=0.15)
    assert guess.planned_usd == getattr(guess, field)
    assert guess.calls == len(server.paid)
    assert guess.basis == ("server" if asks_server else "text")


def test_the_older_models_estimate_is_within_fifteen_percent_too(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    settings = fast(model="claude-haiku-4-5")
    guess = estimate(CHUNKS, settings, sqlite_ledger)
    generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert guess.direct_usd == pytest.approx(server.cost_usd, rel=0.15)
    # The prompt is shorter than what this model caches.
    assert guess.direct_cached_usd == guess.direct_usd


def test_earlier_answers_are_the_best_basis(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    settings = fast(prompt_caching=False)
    generate_questions(CHUNKS[:30], settings=settings, ledger=sqlite_ledger, client=client)
    guess = estimate(CHUNKS, settings, sqlite_ledger)
    before = server.cost_usd
    assert (guess.basis, guess.calls, guess.answered) == ("ledger", 70, 30)
    generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert guess.direct_usd == pytest.approx(server.cost_usd - before, rel=0.03)


def test_recorded_and_answered_chunks_cost_nothing(sqlite_ledger: Ledger) -> None:
    sqlite_ledger.add_recorded([RecordedQuestion(chunk.chunk_id, "natural", "How so?", "hand") for chunk in CHUNKS])
    guess = estimate(CHUNKS, fast(), sqlite_ledger)
    assert (guess.calls, guess.planned_usd, guess.planned_usd_per_1000_questions) == (0, 0.0, 0.0)


def test_a_batch_is_half_of_a_direct_run_and_is_planned_above_the_threshold(sqlite_ledger: Ledger) -> None:
    guess = estimate(CHUNKS, fast(mode="auto", batch_threshold=99), sqlite_ledger)
    assert guess.batch_usd == pytest.approx(guess.direct_usd / 2)
    assert (guess.planned_mode, guess.fits_ceiling) == ("batch", True)
    assert estimate(CHUNKS, fast(mode="auto", batch_threshold=100), sqlite_ledger).planned_mode == "direct"


def test_a_run_over_the_ceiling_is_announced(sqlite_ledger: Ledger) -> None:
    assert not estimate(CHUNKS, fast(max_cost_usd=0.001), sqlite_ledger).fits_ceiling


def test_a_server_that_does_not_count_is_no_obstacle(sqlite_ledger: Ledger) -> None:
    nowhere = MessagesClient(api_key=KEY, base_url="http://127.0.0.1:9", timeout_s=1)
    assert estimate(CHUNKS[:5], fast(), sqlite_ledger, client=nowhere).basis == "text"


def test_other_scripts_take_more_tokens_a_character(sqlite_ledger: Ledger) -> None:
    from domain_embed_pipeline_tests.questions.scenario import make_chunk

    text = "心房細動の患者に抗凝固薬を投与する前に腎機能を確認する。" * 10
    wide = estimate([make_chunk(text)], fast(), sqlite_ledger)
    latin = estimate([make_chunk("a" * len(text))], fast(), sqlite_ledger)
    assert wide.input_tokens - latin.input_tokens > 0.5 * len(text)
