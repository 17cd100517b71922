from __future__ import annotations

import dataclasses
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain_embed_pipeline.errors import ConfigurationError, LedgerError
from domain_embed_pipeline.questions.batch_ledger import BatchLedger
from domain_embed_pipeline.questions.ledger import Ledger, PaidAnswer, RecordedQuestion
from domain_embed_pipeline.questions.ledger_tables import metadata
from domain_embed_pipeline.questions.records import (
    AnswerKey,
    ParsedAnswer,
    ParsedQuestion,
    ReceivedAnswer,
    RejectedText,
    Usage,
)

KEY = AnswerKey("questions-1-styled", "claude-haiku-5-5", "abc")


def paid(chunk_id: str, delivery_key: str, text: str = '{"natural": "Why?"}') -> PaidAnswer:
    received = ReceivedAnswer(text, "end_turn", Usage(100, 20, 5, 6, 7, 8, "batch"), "req_1", "msg_1", "")
    parsed = ParsedAnswer(
        "answered", (ParsedQuestion("natural", "Why?"),), (RejectedText("keyword", "x", "empty"),), "1 of 2 missing"
    )
    return PaidAnswer(chunk_id, delivery_key, received, parsed, 0.000123)


def test_an_answer_comes_back_as_it_was_stored(ledger: Ledger) -> None:
    answer = paid("c-1", "direct/1")
    assert ledger.store_answer(KEY, answer)
    (stored,) = ledger.answers(KEY, ["c-1"])["c-1"]
    assert stored.received == answer.received
    assert stored.parsed == answer.parsed
    assert stored.cost_usd == pytest.approx(0.000123)


def test_one_delivery_is_stored_once_however_often_it_arrives(ledger: Ledger) -> None:
    assert ledger.store_answer(KEY, paid("c-1", "batch_1/a"))
    assert not ledger.store_answer(KEY, paid("c-1", "batch_1/a"))
    assert len(ledger.answers(KEY, ["c-1"])["c-1"]) == 1


@pytest.mark.parametrize("field", ["prompt_version", "model", "parameters_digest"])
def test_an_answer_under_another_key_is_not_found(ledger: Ledger, field: str) -> None:
    ledger.store_answer(KEY, paid("c-1", "direct/1"))
    assert ledger.answers(dataclasses.replace(KEY, **{field: "other"}), ["c-1"]) == {}


def test_answers_of_many_chunks_are_found(ledger: Ledger) -> None:
    ledger.store_answers(KEY, [paid(f"c-{number}", f"direct/{number}") for number in range(1200)])
    found = ledger.answers(KEY, [f"c-{number}" for number in range(2000)])
    assert len(found) == 1200


def test_text_that_a_database_cannot_hold_does_not_lose_the_answer(ledger: Ledger) -> None:
    ledger.store_answer(KEY, paid("c-1", "direct/1", text="nul \x00 and a lone surrogate \ud800"))
    assert ledger.answers(KEY, ["c-1"])["c-1"][0].received.text == "nul \ufffd and a lone surrogate ?"


def test_recorded_questions_are_stored_once_per_generator(ledger: Ledger) -> None:
    question = RecordedQuestion("c-1", "natural", "Why?", "hand")
    other = RecordedQuestion("c-1", "natural", "Why?", "opus")
    assert ledger.add_recorded([question, question]) == 1
    assert ledger.add_recorded([question, other]) == 1
    assert ledger.recorded(["c-1", "c-2"]) == {"c-1": [question, other]}


def test_a_forgotten_chunk_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.store_answer(KEY, paid("c-1", "direct/1", text="SECRETWORD"))
        ledger.store_answer(KEY, paid("c-2", "direct/2", text="KEPTWORD"))
        ledger.add_recorded([RecordedQuestion("c-1", "natural", "Who is SECRETWORD?", "hand")])
        BatchLedger(ledger, KEY).intend("i1", [("i1-a", "c-1")], newest_before="", cost_bound_usd=0.0)
        assert ledger.forget(["c-1"]) == 3
        assert list(ledger.answers(KEY, ["c-1", "c-2"])) == ["c-2"]
        assert ledger.recorded(["c-1"]) == {}
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"KEPTWORD" in on_disk
    assert b"SECRETWORD" not in on_disk


def test_no_table_has_a_place_for_keys_or_texts_of_chunks() -> None:
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    assert not {name for name in columns if "key" in name and name != "delivery_key"}
    assert not columns & {"chunk_text", "prompt", "request", "headers", "base_url", "title"}


def test_threads_can_store_at_the_same_time(ledger: Ledger) -> None:
    def store(worker: int) -> None:
        for number in range(20):
            ledger.store_answer(KEY, paid(f"c-{worker}-{number}", f"direct/{worker}-{number}"))

    threads = [threading.Thread(target=store, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chunk_ids = [f"c-{worker}-{number}" for worker in range(8) for number in range(20)]
    assert len(ledger.answers(KEY, chunk_ids)) == 160


def test_processes_that_open_a_new_ledger_at_once_all_succeed(ledger_url: str) -> None:
    errors: list[BaseException] = []

    def open_ledger() -> None:
        try:
            Ledger(ledger_url).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_ledger) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_ledger_of_another_version_is_refused(ledger: Ledger, ledger_url: str) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_meta SET value = '99'"))
    with pytest.raises(LedgerError, match=r"schema version 99; this package reads version 1"):
        Ledger(ledger_url)


def test_sqlite_writes_ahead_and_to_the_disk(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_write_waits_for_another_process_that_holds_the_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
        assert ledger.store_answer(KEY, paid("c-1", "direct/1"))
        other.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://user@host/db", "not a url"])
def test_a_url_that_cannot_hold_a_ledger_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Use sqlite:///path"):
        Ledger(url)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, and no database at all. " * 50, encoding="utf-8")
    with pytest.raises(LedgerError, match=r"notes\.txt cannot be opened"):
        Ledger(f"sqlite:///{path}")


def test_a_password_never_shows_in_an_error() -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger("postgresql://someone:hunter2@127.0.0.1:1/nowhere")
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
