from __future__ import annotations

import logging
from pathlib import Path

import pytest

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.questions import assembly
from domain_embed_pipeline.questions import ledger as ledger_module
from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import GeneratedQuestions, generate_questions
from domain_embed_pipeline.questions.ledger import Ledger, RecordedQuestion
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer, Fault
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunk, make_chunks

CHUNKS = make_chunks(20)


def test_the_same_corpus_again_costs_nothing_and_says_so(
    ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    seen = len(server.started_at)
    again = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    assert len(server.started_at) == seen
    assert (again.asked, again.answered_from_ledger, again.cost_usd) == (0, 20, 0.0)
    assert (again.questions, again.questions_version) == (first.questions, first.questions_version)
    assert again.ledger_cost_usd == pytest.approx(first.cost_usd)
    assert "All 20 chunks are answered in the ledger; nothing is asked." in caplog.text


@pytest.mark.parametrize("mode", ["direct", pytest.param("batch", marks=pytest.mark.slow)])
def test_two_percent_of_edited_chunks_are_two_percent_of_the_calls(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, mode: str
) -> None:
    chunks = make_chunks(1000, sentences=1)
    settings = fast(mode="batch")
    generate_questions(chunks, settings=settings, ledger=sqlite_ledger, client=client)
    assert len(server.paid) == 1000
    edited = [
        make_chunk(chunk.text + " Checked twice.", title=chunk.title) if number % 50 == 7 else chunk
        for number, chunk in enumerate(chunks)
    ]
    result = generate_questions(edited, settings=fast(mode=mode), ledger=sqlite_ledger, client=client)
    assert len(server.paid) == 1020
    assert (result.asked, result.answered_from_ledger) == (20, 980)
    generate_questions(edited, settings=fast(mode=mode), ledger=sqlite_ledger, client=client)
    assert len(server.paid) == 1020


def test_without_anybody_to_ask_the_ledger_is_what_there_is(
    ledger: Ledger, client: MessagesClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    generate_questions(CHUNKS[:5], settings=fast(), ledger=ledger, client=client)
    result = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=None)
    assert (result.answered_from_ledger, result.unanswered, len(result.questions)) == (5, 15, 20)
    lines = [record.message for record in caplog.records if "nobody to ask" in record.message]
    assert lines == [
        "15 of 20 chunks have no questions in the ledger and there is nobody to ask (neither key nor base URL); "
        "going on with the others."
    ]


def test_a_corpus_without_chunks_is_no_error(sqlite_ledger: Ledger) -> None:
    result = generate_questions([], settings=fast(), ledger=sqlite_ledger, client=None)
    assert (result.chunks, result.questions, result.keep_rate) == (0, (), 1.0)


def test_a_chunk_that_is_given_twice_is_asked_about_once(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    result = generate_questions(CHUNKS[:3] * 2, settings=fast(), ledger=sqlite_ledger, client=client)
    assert (result.chunks, len(server.paid)) == (3, 3)


def test_the_order_of_chunks_and_answers_changes_nothing(
    sqlite_ledger: Ledger, client: MessagesClient, tmp_path: Path
) -> None:
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    with Ledger(f"sqlite:///{tmp_path}/other.sqlite") as other:
        settings = fast(max_concurrency=1)
        reverse = generate_questions(CHUNKS[::-1], settings=settings, ledger=other, client=client)
    assert reverse.questions == result.questions
    assert reverse.questions_version == result.questions_version


def test_another_model_is_asked_anew(sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer) -> None:
    generate_questions(CHUNKS[:2], settings=fast(), ledger=sqlite_ledger, client=client)
    result = generate_questions(
        CHUNKS[:2], settings=fast(model="claude-haiku-4-5"), ledger=sqlite_ledger, client=client
    )
    assert len(server.paid) == 4
    assert {question.generator for question in result.questions} == {"claude-haiku-4-5"}


def test_a_model_without_a_price_is_refused_before_anything_is_asked(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    with pytest.raises(ConfigurationError, match="No price is known for the model 'gpt'"):
        generate_questions(CHUNKS, settings=fast(model="gpt"), ledger=sqlite_ledger, client=client)
    assert server.bodies == []


def test_recorded_questions_stand_in_for_an_answer(
    ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    recorded = [
        RecordedQuestion(CHUNKS[0].chunk_id, "natural", "Who checks unit 0?", "hand"),
        RecordedQuestion(CHUNKS[0].chunk_id, "keyword", "unit 0 check", "opus"),
    ]
    ledger.add_recorded(recorded)
    result = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=client)
    assert (result.asked, result.recorded, result.answered_from_ledger) == (19, 1, 1)
    mine = [question for question in result.questions if question.chunk_id == CHUNKS[0].chunk_id]
    assert {(question.generator, question.text) for question in mine} == {
        ("hand", "Who checks unit 0?"),
        ("opus", "unit 0 check"),
    }
    assert result.cost_per_1000_questions == pytest.approx(1000 * server.cost_usd / 76)


def test_chunks_with_recorded_questions_are_asked_too_when_that_is_wanted(
    sqlite_ledger: Ledger, client: MessagesClient
) -> None:
    sqlite_ledger.add_recorded([RecordedQuestion(CHUNKS[0].chunk_id, "natural", "Who checks unit 0?", "hand")])
    settings = fast(ask_beside_recorded=True)
    result = generate_questions(CHUNKS[:1], settings=settings, ledger=sqlite_ledger, client=client)
    assert (result.asked, len(result.questions)) == (1, 5)


def test_the_same_words_from_two_generators_are_one_question(
    sqlite_ledger: Ledger,
) -> None:
    chunk_id = CHUNKS[0].chunk_id
    sqlite_ledger.add_recorded(
        [
            RecordedQuestion(chunk_id, "natural", "Who checks unit 0?", "b"),
            RecordedQuestion(chunk_id, "specific", "who checks  Unit 0", "a"),
        ]
    )
    result = generate_questions(CHUNKS[:1], settings=fast(), ledger=sqlite_ledger, client=None)
    assert [(question.generator, result.duplicates) for question in result.questions] == [("a", 1)]


def test_a_better_parser_reads_stored_answers_again_at_no_cost(
    sqlite_ledger: Ledger,
    client: MessagesClient,
    server: FakeMessagesServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assembly, "parse_safely", assembly.parse_safely)
    generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    with sqlite_ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE responses SET parser_version = 0, outcome = 'invalid', questions = '[]'")
    paid = len(server.paid)
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert (len(result.questions), len(server.paid)) == (80, paid)
    assert ledger_module.PARSER_VERSION == assembly.PARSER_VERSION


def test_an_answer_that_breaks_the_parser_is_stored_before_anything_else(
    sqlite_ledger: Ledger,
    client: MessagesClient,
    server: FakeMessagesServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from domain_embed_pipeline.questions import session

    original = session.parse_answer

    def broken(*_: object) -> None:
        raise RecursionError("a bug of ours")

    monkeypatch.setattr(session, "parse_answer", broken)
    settings = fast(max_answers_per_chunk=1)
    result = generate_questions(CHUNKS[:3], settings=settings, ledger=sqlite_ledger, client=client)
    assert {row.reason for row in result.refusals} == {"unparsed"}
    monkeypatch.setattr(session, "parse_answer", original)
    result = generate_questions(CHUNKS[:3], settings=settings, ledger=sqlite_ledger, client=client)
    assert (len(result.questions), len(server.paid)) == (12, 3)


def test_the_result_survives_storage(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, tmp_path: Path
) -> None:
    server.fail_next("refusal")
    server.fail_next("more")
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert result.refusals
    assert result.rejected
    save_record(result, str(tmp_path / "generated"))
    assert load_record(GeneratedQuestions, str(tmp_path / "generated")) == result


def test_a_document_that_makes_the_model_misbehave_is_named(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = make_chunks(60)
    hostile = {chunk.text for chunk in chunks if chunk.document_id == "unit-2.md"}
    evil = '{"natural": "See https://evil.example now?", "keyword": "evil.com shop", "specific": "Who is unit 2?"}'
    server.fault_for = lambda text: Fault("text", text=evil) if text in hostile else None
    result = generate_questions(chunks, settings=fast(), ledger=sqlite_ledger, client=client)
    (document,) = result.suspicious_documents
    assert (document.document_id, document.texts, document.rejected) == ("unit-2.md", 30, 20)
    assert (document.reject_rate, document.median_reject_rate) == (pytest.approx(2 / 3), 0.0)
    assert "unit-2.md: 20 of 30 returned texts were invalid" in caplog.text


def test_a_forgotten_chunk_is_asked_again_when_it_is_still_in_the_corpus(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer
) -> None:
    generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    sqlite_ledger.forget([CHUNKS[0].chunk_id])
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert (result.asked, len(server.paid)) == (1, 21)
