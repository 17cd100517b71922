from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from domain_embed_pipeline.errors import ConfigurationError, RequestsRejectedError
from domain_embed_pipeline.questions.batch_ledger import BatchLedger
from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import GeneratedQuestions, generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import batch_items, batches
from domain_embed_pipeline.questions.progress import Progress
from domain_embed_pipeline.questions.prompt import answer_key_of, build_request
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer, Fault
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks

CHUNKS = make_chunks(30)
Ask = Callable[..., GeneratedQuestions]


@pytest.fixture
def ask(ledger: Ledger, client: MessagesClient) -> Ask:
    def generate(chunks: list[Chunk] = CHUNKS, **changes: Any) -> GeneratedQuestions:
        settings = fast(**{"mode": "batch", **changes})
        return generate_questions(chunks, settings=settings, ledger=ledger, client=client)

    return generate


def assert_each_answered_once(result: GeneratedQuestions, server: FakeMessagesServer, chunks: list[Chunk]) -> None:
    assert sorted(server.paid_texts()) == sorted(chunk.text for chunk in chunks)
    assert {question.chunk_id for question in result.questions} == {chunk.chunk_id for chunk in chunks}
    assert (result.unanswered, result.refusals, result.stopped_reason) == (0, (), None)


def states(ledger: Ledger) -> list[str]:
    return sorted(row.state for row in ledger.read(sa.select(batches.c.state)))


def test_a_batch_costs_half_and_gives_the_same_questions_as_asking_directly(
    ask: Ask, server: FakeMessagesServer, tmp_path: Any
) -> None:
    in_batch = ask(prompt_caching=False)
    assert_each_answered_once(in_batch, server, CHUNKS)
    assert in_batch.cost_usd == pytest.approx(server.cost_usd)
    with FakeMessagesServer() as other, Ledger(f"sqlite:///{tmp_path}/other.sqlite") as ledger:
        client = MessagesClient(api_key=KEY, base_url=other.base_url)
        directly = generate_questions(CHUNKS, settings=fast(prompt_caching=False), ledger=ledger, client=client)
    assert in_batch.questions == directly.questions
    # One request is asked directly, to see whether the server takes requests of this shape.
    assert in_batch.cost_usd == pytest.approx(directly.cost_usd * (29 / 2 + 1) / 30, rel=0.02)


def test_results_in_any_order_find_their_chunks(ask: Ask, server: FakeMessagesServer, ledger: Ledger) -> None:
    ask()
    text_of = {chunk.chunk_id: chunk.text for chunk in CHUNKS}
    paid = {entry.custom_id: entry.chunk_text for entry in server.paid if entry.custom_id}
    answers = ledger.answers(answer_key_of(fast()), text_of)
    assert len(paid) == 29
    for chunk_id, (answer,) in answers.items():
        words = answer.parsed.questions[1].text.split()
        assert sum(word in text_of[chunk_id] for word in words) >= 4


def test_batches_are_split_by_count(ask: Ask, server: FakeMessagesServer) -> None:
    result = ask(batch_max_requests=10)
    assert sorted(len(batch.requests) for batch in server.batches.values()) == [9, 10, 10]
    assert_each_answered_once(result, server, CHUNKS)


def test_batches_are_split_by_size(ask: Ask, server: FakeMessagesServer) -> None:
    result = ask(batch_max_bytes=20_000)
    sizes = [len(json.dumps({"requests": batch.requests}).encode()) for batch in server.batches.values()]
    assert len(sizes) >= 4
    assert max(sizes) <= 20_000
    assert_each_answered_once(result, server, CHUNKS)


def test_a_creation_whose_response_is_lost_is_adopted_and_not_repeated(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    server.lose_next_creates = 1
    result = ask()
    assert_each_answered_once(result, server, CHUNKS)
    assert len(server.batches) == 1
    assert states(ledger) == ["collected"]


def test_a_creation_that_failed_without_a_batch_is_repeated(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    server.fail_next_creates = 1
    result = ask()
    assert_each_answered_once(result, server, CHUNKS)
    assert states(ledger) == ["collected", "not_created"]


def test_a_batch_of_somebody_else_that_was_adopted_by_mistake_is_given_back(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    """Somebody in the same workspace creates a batch of the same size at the moment in which our creation fails."""
    requests = [
        {"custom_id": f"stranger-{number}", "params": build_request(chunk, fast(), batch=True)}
        for number, chunk in enumerate(make_chunks(29, start=500))
    ]

    def create_the_strangers() -> None:
        if not server.batches:
            server.create_batch(requests)

    server.before_create = create_the_strangers
    server.fail_next_creates = 1
    result = ask()
    assert states(ledger) == ["collected", "foreign", "not_created"]
    ours = {chunk.text for chunk in CHUNKS}
    assert sorted(text for text in server.paid_texts() if text in ours) == sorted(ours)
    assert (result.unanswered, result.refusals) == (0, ())


def test_items_that_expired_are_asked_again_and_the_others_are_not(ask: Ask, server: FakeMessagesServer) -> None:
    server.expire_share = 0.5
    result = ask()
    assert_each_answered_once(result, server, CHUNKS)
    assert sorted(len(batch.requests) for batch in server.batches.values()) == [14, 29]


def test_items_that_failed_in_passing_are_asked_again(ask: Ask, server: FakeMessagesServer) -> None:
    server.error_share = 0.3
    assert_each_answered_once(ask(), server, CHUNKS)


def test_items_that_always_expire_are_reported_after_the_last_round(ask: Ask, server: FakeMessagesServer) -> None:
    server.always_expire = True
    result = ask(batch_rounds=2)
    assert [len(batch.requests) for batch in server.batches.values()] == [29, 29]
    assert {(row.reason, row.is_final) for row in result.refusals} == {("expired", False)}
    assert (result.unanswered, len(result.refusals)) == (29, 29)


def test_a_request_that_is_invalid_is_reported_and_not_repeated(ask: Ask, server: FakeMessagesServer) -> None:
    server.error_share = 0.1
    server.batch_error = "invalid_request_error"
    result = ask()
    assert len(server.batches) == 1
    assert [row.reason for row in result.refusals] == ["errored"] * 3


@pytest.mark.parametrize("cuts", [[0], [7], [28], [3, 10, 20]])
def test_results_that_are_cut_off_are_read_again_and_stored_once(
    ask: Ask, server: FakeMessagesServer, cuts: list[int]
) -> None:
    server.cut_results_after.extend(cuts)
    assert_each_answered_once(ask(), server, CHUNKS)


def test_results_that_end_early_without_an_error_are_not_taken_for_complete(
    ask: Ask, server: FakeMessagesServer
) -> None:
    server.short_results.extend([5, 20])
    assert_each_answered_once(ask(), server, CHUNKS)
    assert len(server.batches) == 1


def test_unusable_answers_of_a_batch_are_asked_again_within_bounds(ask: Ask, server: FakeMessagesServer) -> None:
    unlucky = CHUNKS[9].text
    server.fault_for = lambda text: Fault("schema_violation") if text == unlucky else None
    result = ask()
    assert server.paid_texts().count(unlucky) == 2
    assert [(row.reason, row.is_final) for row in result.refusals] == [("invalid", True)]


def test_a_run_that_stops_waiting_leaves_its_batch_to_the_next_one(ledger_url: str, server: FakeMessagesServer) -> None:
    server.batch_seconds = 0.6
    settings = fast(mode="batch", batch_wait_h=0.0)
    with Ledger(ledger_url) as ledger:
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        first = generate_questions(CHUNKS, settings=settings, ledger=ledger, client=client)
    assert first.stopped_reason is not None
    assert first.stopped_reason.startswith("batches_pending: Still running after 0 h: msgbatch_")
    assert first.unanswered == 29
    time.sleep(0.6)
    with Ledger(ledger_url) as ledger:
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        second = generate_questions(CHUNKS, settings=settings, ledger=ledger, client=client)
    assert_each_answered_once(second, server, CHUNKS)
    assert len(server.batches) == 1


@pytest.mark.parametrize("mode", ["direct", "auto"])
def test_chunks_that_wait_in_a_batch_are_not_asked_directly_meanwhile(
    ask: Ask, server: FakeMessagesServer, mode: str
) -> None:
    server.batch_seconds = 0.3
    ask(CHUNKS[:20], batch_wait_h=0.0)
    result = ask(CHUNKS, mode=mode)
    assert_each_answered_once(result, server, CHUNKS)
    assert [len(batch.requests) for batch in server.batches.values()] == [19]


def test_an_intent_of_a_dead_process_is_resolved_by_adopting_its_batch(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    settings = fast(mode="batch")
    rows = BatchLedger(ledger, answer_key_of(settings))
    items = [(f"dead00000000-{number}", chunk.chunk_id) for number, chunk in enumerate(CHUNKS)]
    rows.intend("dead00000000", items, newest_before="", cost_bound_usd=0.01)
    requests = [
        {"custom_id": custom_id, "params": build_request(chunk, settings, batch=True)}
        for (custom_id, _), chunk in zip(items, CHUNKS, strict=True)
    ]
    server.create_batch(requests)
    assert_each_answered_once(ask(), server, CHUNKS)
    assert len(server.batches) == 1


def test_an_intent_of_a_dead_process_that_was_never_sent_is_asked_anew(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    rows = BatchLedger(ledger, answer_key_of(fast()))
    items = [(f"dead00000000-{number}", chunk.chunk_id) for number, chunk in enumerate(CHUNKS)]
    rows.intend("dead00000000", items, newest_before="", cost_bound_usd=0.01)
    assert_each_answered_once(ask(), server, CHUNKS)
    assert states(ledger) == ["collected", "not_created"]


def test_a_batch_that_the_server_no_longer_has_is_reported_and_asked_in_the_next_run(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    server.batch_seconds = 60
    ask(batch_wait_h=0.0)
    server.batches.clear()
    server.batch_seconds = 0.05
    result = ask()
    assert {(row.reason, row.is_final) for row in result.refusals} == {("batch_lost", False)}
    assert_each_answered_once(ask(), server, CHUNKS)
    assert states(ledger) == ["collected", "lost"]


def test_results_for_chunks_that_left_the_corpus_are_kept_for_their_return(
    ask: Ask, server: FakeMessagesServer
) -> None:
    server.batch_seconds = 0.3
    ask(batch_wait_h=0.0)
    ask(CHUNKS[:5])
    paid = len(server.paid)
    result = ask()
    assert len(server.paid) == paid == 30
    assert_each_answered_once(result, server, CHUNKS)
    assert result.answered_from_ledger == 30


def test_a_batch_that_nobody_needs_any_more_is_not_waited_for_but_collected_once_it_has_ended(
    ask: Ask, server: FakeMessagesServer
) -> None:
    server.batch_seconds = 30
    ask(batch_wait_h=0.0)
    started = time.monotonic()
    assert ask([]).chunks == 0
    assert time.monotonic() - started < 5
    server.batch_seconds = 0
    ask([])
    result = ask()
    assert_each_answered_once(result, server, CHUNKS)
    assert result.answered_from_ledger == 30


def test_results_that_were_stored_but_not_ticked_off_are_stored_once(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    """The process died after it stored the answers and before it noted so beside the batch."""
    ask()
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(batches).values(state="created"))
        connection.execute(sa.update(batch_items).values(state="waiting"))
    result = ask([*CHUNKS, *make_chunks(1, start=900)], mode="direct")
    answers = ledger.answers(answer_key_of(fast()), [chunk.chunk_id for chunk in CHUNKS])
    assert [len(found) for found in answers.values()] == [1] * 30
    assert result.ledger_cost_usd == pytest.approx(server.cost_usd)
    assert states(ledger) == ["collected"]


def test_an_answer_for_a_chunk_that_was_forgotten_is_dropped(
    ask: Ask, server: FakeMessagesServer, ledger: Ledger
) -> None:
    server.batch_seconds = 0.3
    ask(batch_wait_h=0.0)
    gone = CHUNKS[9]
    ledger.forget([gone.chunk_id])
    rest = [chunk for chunk in CHUNKS if chunk is not gone]
    result = ask(rest)
    assert result.unanswered == 0
    assert ledger.answers(answer_key_of(fast()), [gone.chunk_id]) == {}


def test_the_ceiling_holds_over_batches_and_what_was_not_needed_is_used(ask: Ask, server: FakeMessagesServer) -> None:
    chunks = make_chunks(200)
    result = ask(chunks, max_cost_usd=0.012)
    assert result.stopped_reason is not None
    assert result.stopped_reason.startswith("budget: ")
    assert 0.5 * 0.012 < server.cost_usd <= 0.012
    assert len(server.batches) >= 2
    rest = ask(chunks)
    assert_each_answered_once(rest, server, chunks)


def test_a_shape_that_the_server_refuses_is_found_out_before_a_batch_is_created(
    ask: Ask, server: FakeMessagesServer
) -> None:
    server.fail_next("bad_request", times=2)
    with pytest.raises(RequestsRejectedError, match="refuses requests of this shape"):
        ask()
    assert server.batches == {}


def test_batches_cannot_be_had_from_a_server_without_them(sqlite_ledger: Ledger) -> None:
    with FakeMessagesServer(has_batches=False) as server:
        client = MessagesClient(api_key=KEY, base_url=server.base_url)
        with pytest.raises(ConfigurationError, match="Set mode to direct or auto"):
            generate_questions(CHUNKS, settings=fast(mode="batch"), ledger=sqlite_ledger, client=client)


@pytest.mark.parametrize(("threshold", "in_batch"), [(29, True), (30, False)])
def test_auto_takes_batches_above_the_threshold(
    ask: Ask, server: FakeMessagesServer, threshold: int, in_batch: bool
) -> None:
    ask(mode="auto", batch_threshold=threshold)
    assert bool(server.batches) == in_batch


def test_progress_shows_state_and_age_of_each_batch(sqlite_ledger: Ledger, server: FakeMessagesServer) -> None:
    server.batch_seconds = 1.6
    seen: list[Progress] = []
    client = MessagesClient(api_key=KEY, base_url=server.base_url)
    settings = fast(mode="batch", batch_max_requests=20)
    generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client, progress=seen.append)
    waiting = next(progress for progress in seen if progress.batches)
    assert sorted(batch.request_count for batch in waiting.batches) == [9, 20]
    assert {batch.state for batch in waiting.batches} == {"in_progress"}
    assert 0 < waiting.batches[0].age_s < 60
    assert "in_progress, 20 requests" in str(waiting)


def test_two_settings_have_their_own_batches(ask: Ask, server: FakeMessagesServer) -> None:
    server.batch_seconds = 0.3
    ask(batch_wait_h=0.0)
    other: QuestionSettings = fast(styles=("natural",))
    result = ask(styles=other.styles)
    assert len(result.questions) == 30
    assert len(server.batches) == 2
