from __future__ import annotations

import threading
import time

import pytest

from domain_embed_pipeline.questions.lease import AskingLease
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import leases
from domain_embed_pipeline.questions.records import AnswerKey

KEY = AnswerKey("p", "m", "d")


def held_by(ledger: Ledger, owner: str, *, expires_in: float) -> None:
    row = {"name": "ask/p/m/d", "owner": owner, "expires_at": time.time() + expires_in}
    ledger.write(lambda connection: connection.execute(leases.insert().values(row)))


def test_the_second_asker_waits_for_the_first(ledger: Ledger) -> None:
    order = []
    with AskingLease(ledger, KEY, lease_s=0.4):
        second = threading.Thread(target=lambda: _enter(ledger, order))
        second.start()
        time.sleep(0.8)
        order.append("first leaves")
    second.join()
    assert order == ["first leaves", "second enters"]


def _enter(ledger: Ledger, order: list[str]) -> None:
    with AskingLease(ledger, KEY, lease_s=0.4):
        order.append("second enters")


def test_other_questions_can_be_asked_meanwhile(ledger: Ledger) -> None:
    with AskingLease(ledger, KEY), AskingLease(ledger, AnswerKey("p", "m", "other")):
        pass


def test_the_lease_of_a_process_that_died_on_this_machine_is_taken_at_once(ledger: Ledger) -> None:
    import socket

    held_by(ledger, f"{socket.gethostname()}:999999999:1:x", expires_in=3600)
    started = time.monotonic()
    with AskingLease(ledger, KEY):
        assert time.monotonic() - started < 1


def test_the_lease_of_a_silent_process_elsewhere_is_taken_when_it_runs_out(ledger: Ledger) -> None:
    held_by(ledger, "elsewhere:1:1:x", expires_in=0.5)
    started = time.monotonic()
    with AskingLease(ledger, KEY, lease_s=0.4):
        assert 0.4 < time.monotonic() - started < 5


def test_a_holder_renews_its_lease_and_notices_when_somebody_took_it(ledger: Ledger) -> None:
    with AskingLease(ledger, KEY, lease_s=0.4) as lease:
        time.sleep(0.8)
        assert not lease.lost
        ledger.write(lambda connection: connection.execute(leases.update().values(owner="elsewhere:1:1:y")))
        time.sleep(0.4)
        assert lease.lost
    (row,) = ledger.read(leases.select())
    assert row.owner == "elsewhere:1:1:y"


def test_the_lease_is_given_back_after_an_error(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), AskingLease(ledger, KEY):
        _ = 1 / 0
    assert ledger.read(leases.select()) == []
