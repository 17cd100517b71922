from __future__ import annotations

import logging
import re
import threading
import time

import pytest

from domain_embed_pipeline.errors import RequestsRejectedError
from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.progress import Progress
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer, Fault
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks

CHUNKS = make_chunks(12)


def test_every_chunk_is_asked_about_once_and_the_bill_is_right(
    ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    result = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    assert sorted(server.paid_texts()) == sorted(chunk.text for chunk in CHUNKS)
    assert (result.chunks, result.asked, result.answered_from_ledger, result.unanswered) == (12, 12, 0, 0)
    assert len(result.questions) == 48
    assert result.cost_usd == pytest.approx(server.cost_usd)
    assert result.cost_per_1000_questions == pytest.approx(1000 * server.cost_usd / 48)
    assert result.output_tokens == sum(paid.usage["output_tokens"] for paid in server.paid)
    assert result.stopped_reason is None


def test_the_first_request_goes_alone_so_that_the_others_read_the_cache(
    sqlite_ledger: Ledger, client: MessagesClient
) -> None:
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert result.cache_hits == 11


@pytest.mark.parametrize("fault", ["rate_limited", "overloaded", "server_error", "cut_before", "not_json"])
def test_a_passing_failure_is_tried_again(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, fault: str
) -> None:
    server.fail_next(fault, times=3)
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert (result.asked, result.unanswered, result.refusals) == (12, 0, ())
    assert len(server.started_at) == 15


def test_a_request_without_an_answer_counts_against_the_ceiling(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.fail_next("cut_after", times=2)
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert len(server.paid) == 14
    assert result.cost_usd < server.cost_usd <= result.cost_usd + result.uncertain_cost_usd


def test_the_pause_that_the_server_asks_for_is_kept_under_our_ceiling(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.fail_next("rate_limited", seconds=86_400)
    started = time.monotonic()
    settings = fast(retry_after_ceiling_s=0.5)
    generate_questions(CHUNKS[:2], settings=settings, ledger=sqlite_ledger, client=client)
    assert server.started_at[1] - server.started_at[0] >= 0.5
    assert time.monotonic() - started < 5


def test_retries_are_bounded_and_the_chunk_is_reported_and_asked_in_the_next_run(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    unlucky = CHUNKS[3].text
    server.fault_for = lambda text: Fault("server_error") if text == unlucky else None
    settings = fast(max_retries=2)
    result = generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    (refusal,) = result.refusals
    assert (refusal.chunk_id, refusal.reason, refusal.is_final) == (CHUNKS[3].chunk_id, "server", False)
    assert len(server.started_at) == 11 + 2 * 3
    server.fault_for = lambda _text: None
    result = generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert (result.asked, result.unanswered, len(server.paid)) == (1, 0, 12)


def test_a_request_that_the_server_finds_bad_is_not_repeated(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    bad = CHUNKS[3].text
    server.fault_for = lambda text: Fault("bad_request") if text == bad else None
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert [row.reason for row in result.refusals] == ["bad_request"]
    assert len(server.started_at) == 12


def test_a_server_that_keeps_failing_stops_the_run_early(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.storm = lambda _number: Fault("overloaded")
    settings = fast(circuit_breaker_failures=6)
    result = generate_questions(make_chunks(100), settings=settings, ledger=sqlite_ledger, client=client)
    assert result.stopped_reason is not None
    # Requests that were in flight when the sixth failed may have failed too.
    assert re.match(r"circuit_open: \d+ attempts in a row failed, the last one with: overloaded", result.stopped_reason)
    assert result.unanswered == 100
    assert len(server.started_at) < 20


def test_a_model_that_ignores_the_format_stops_the_run_before_it_burns_money(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.storm = lambda _number: Fault("schema_violation")
    settings = fast(circuit_breaker_failures=6)
    result = generate_questions(make_chunks(100), settings=settings, ledger=sqlite_ledger, client=client)
    assert result.stopped_reason is not None
    assert "paid answers in a row held no usable question" in result.stopped_reason
    assert len(server.paid) < 20


@pytest.mark.parametrize("fault", ["unauthorized"])
def test_a_refused_key_ends_the_run_after_one_request(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, fault: str
) -> None:
    server.storm = lambda _number: Fault(fault)
    with pytest.raises(RequestsRejectedError, match="Check ANTHROPIC_API_KEY") as caught:
        generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert KEY not in str(caught.value)
    assert len(server.started_at) == 1


def test_the_accounts_spend_limit_ends_the_run_cleanly(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.storm = lambda number: Fault("spend_limit") if number >= 5 else None
    settings = fast(max_concurrency=1)
    result = generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert result.stopped_reason is not None
    assert result.stopped_reason.startswith("budget: The account cannot spend more")
    assert (result.asked, len(server.started_at)) == (5, 6)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_ceiling_stops_the_run_with_everything_kept(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, concurrency: int
) -> None:
    chunks = make_chunks(40)
    settings = fast(max_cost_usd=0.002, max_concurrency=concurrency)
    result = generate_questions(chunks, settings=settings, ledger=sqlite_ledger, client=client)
    assert result.stopped_reason is not None
    assert result.stopped_reason.startswith("budget: ")
    assert 0 < result.asked < 40
    assert server.cost_usd <= 0.002
    assert result.asked == len(server.paid)
    # What is left over is less than one request could have cost.
    assert server.cost_usd > 0.002 - 0.0015
    rest = generate_questions(chunks, settings=fast(), ledger=sqlite_ledger, client=client)
    assert (rest.unanswered, len(server.paid)) == (0, 40)


def test_a_ceiling_of_nothing_asks_nothing(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    result = generate_questions(CHUNKS, settings=fast(max_cost_usd=0.0), ledger=sqlite_ledger, client=client)
    assert (result.asked, len(server.started_at)) == (0, 0)


def test_requests_start_no_faster_than_the_limit(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    settings = fast(requests_per_minute=1200, max_concurrency=16)
    generate_questions(make_chunks(20), settings=settings, ledger=sqlite_ledger, client=client)
    duration = server.started_at[-1] - server.started_at[0]
    assert duration >= 19 * 0.05 * 0.9


def test_an_interrupted_run_keeps_the_answers_that_are_in_flight(sqlite_ledger: Ledger) -> None:
    with FakeMessagesServer(latency_s=0.1) as server:
        client = MessagesClient(api_key=KEY, base_url=server.base_url)

        def interrupt(_progress: Progress) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            generate_questions(
                make_chunks(200), settings=fast(), ledger=sqlite_ledger, client=client, progress=interrupt
            )
        paid = len(server.paid)
        result = generate_questions(make_chunks(200), settings=fast(), ledger=sqlite_ledger, client=None)
        assert 0 < paid < 200
        assert result.answered_from_ledger == paid


def test_progress_is_told_with_rate_cost_and_time_to_go(sqlite_ledger: Ledger) -> None:
    seen: list[Progress] = []
    with FakeMessagesServer(latency_s=0.15) as server:
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        settings = fast(max_concurrency=2)
        generate_questions(
            make_chunks(24), settings=settings, ledger=sqlite_ledger, client=client, progress=seen.append
        )
        cost = server.cost_usd
    assert len(seen) >= 2
    assert 0 < seen[0].done < 24
    assert seen[0].eta_s is not None
    assert seen[0].eta_s > 0
    assert (seen[-1].done, seen[-1].total, seen[-1].questions) == (24, 24, 96)
    assert seen[-1].cost_usd == pytest.approx(cost)
    assert "24/24 chunks, 96 questions" in str(seen[-1])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("refusal", "refused"), ("skip", "no_questions"), ("schema_violation", "invalid"), ("empty", "invalid")],
)
def test_an_answer_without_questions_is_reported_with_its_reason_and_final(
    ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, fault: str, reason: str
) -> None:
    hit = CHUNKS[3].text
    server.fault_for = lambda text: Fault(fault) if text == hit else None
    result = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    (refusal,) = result.refusals
    assert (refusal.chunk_id, refusal.reason, refusal.is_final) == (CHUNKS[3].chunk_id, reason, True)
    assert (result.refused, result.unanswered) == (1, 0)
    # An unusable answer is paid for twice at most, a refusal or a skip once; never again in a later run.
    assert server.paid_texts().count(hit) == (2 if reason == "invalid" else 1)
    paid = len(server.paid)
    generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    assert len(server.paid) == paid


@pytest.mark.parametrize(
    ("fault", "questions", "rejected"),
    [
        ("fewer", 1, []),
        ("more", 4, ["too_many", "unknown_style"]),
        ("duplicates", 1, ["duplicate"] * 3),
        ("thinking_first", 4, []),
        ("prose", 4, []),
    ],
)
def test_an_answer_that_is_not_quite_as_ordered_gives_what_is_good_in_it(
    sqlite_ledger: Ledger,
    client: MessagesClient,
    server: FakeMessagesServer,
    fault: str,
    questions: int,
    rejected: list[str],
) -> None:
    server.fail_next(fault)
    result = generate_questions(CHUNKS[:1], settings=fast(), ledger=sqlite_ledger, client=client)
    assert len(result.questions) == questions
    assert [row.reason for row in result.rejected] == rejected
    assert result.keep_rate == questions / (questions + len(rejected))
    assert len(server.paid) == 1


def test_an_unusable_answer_is_asked_for_once_more(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    server.fail_next("schema_violation")
    result = generate_questions(CHUNKS[:1], settings=fast(), ledger=sqlite_ledger, client=client)
    assert (len(result.questions), result.asked, result.answers_paid, len(server.paid)) == (4, 1, 2, 2)
    assert result.ledger_cost_usd == pytest.approx(server.cost_usd)


def test_a_server_of_ones_own_that_ignores_the_schema_is_understood(sqlite_ledger: Ledger) -> None:
    with FakeMessagesServer(has_batches=False) as server:
        server.honours_output_config = False
        client = MessagesClient(api_key=None, base_url=server.base_url)
        settings = fast(model="qwen3", input_usd_per_mtok=0.0, output_usd_per_mtok=0.0, mode="auto", batch_threshold=2)
        result = generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
        assert len(result.questions) == 48
        assert result.cost_usd == 0.0
        assert "thinking" not in server.bodies[0]


def test_the_plain_prompt_works_end_to_end(sqlite_ledger: Ledger, client: MessagesClient) -> None:
    result = generate_questions(CHUNKS, settings=fast(prompt="plain"), ledger=sqlite_ledger, client=client)
    assert len(result.questions) == 36
    assert {question.style for question in result.questions} == {"plain"}


def test_no_log_line_no_ledger_row_and_no_result_holds_the_key(
    tmp_path: object,
    sqlite_ledger: Ledger,
    client: MessagesClient,
    server: FakeMessagesServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.fail_next("cut_before")
    server.fail_next("text", text=f"the key is {KEY}")
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert KEY not in caplog.text
    assert KEY not in repr(result)
    sqlite_ledger.close()
    database = str(sqlite_ledger.engine.url.database)
    with open(database, "rb") as file:  # noqa: PTH123
        assert KEY.encode() not in file.read()


def test_two_runs_at_once_do_not_pay_twice(ledger_url: str) -> None:
    with FakeMessagesServer(latency_s=0.02) as server:
        chunks = make_chunks(40)

        def run() -> None:
            with Ledger(ledger_url) as ledger:
                client = MessagesClient(api_key=KEY, base_url=server.base_url)
                results.append(generate_questions(chunks, settings=fast(), ledger=ledger, client=client))

        results: list = []
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.paid) == 40
        assert results[0].questions == results[1].questions
        assert sorted(result.asked for result in results) == [0, 40]
