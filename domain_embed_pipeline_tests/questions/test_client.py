from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from domain_embed_pipeline.questions.client import AttemptFailedError, MessagesClient, _retry_after, _usage
from domain_embed_pipeline.questions.prompt import build_request
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import make_chunk

REQUEST = build_request(make_chunk("Bleed the pump before the first start."), QuestionSettings())


def test_an_answer_carries_text_usage_and_ids(client: MessagesClient, server: FakeMessagesServer) -> None:
    delivery = client.ask(REQUEST)
    received = delivery.received
    assert received.text.startswith('{"skip_reason": ""')
    assert received.stop_reason == "end_turn"
    assert received.usage.output_tokens == server.paid[0].usage["output_tokens"]
    assert received.usage.cache_write_5m_tokens == server.paid[0].usage["cache_creation_input_tokens"] > 0
    assert received.message_id.startswith("msg_")
    assert received.request_id.startswith("req_")
    assert delivery.headers["anthropic-ratelimit-requests-remaining"] == "1000"


def test_a_thinking_block_before_the_text_is_skipped(client: MessagesClient, server: FakeMessagesServer) -> None:
    server.fail_next("thinking_first")
    assert client.ask(REQUEST).received.text.startswith('{"skip_reason"')


def test_a_refusal_has_its_category(client: MessagesClient, server: FakeMessagesServer) -> None:
    server.fail_next("refusal")
    received = client.ask(REQUEST).received
    assert (received.stop_reason, received.refusal_category, received.text) == ("refusal", "cyber", "")


@pytest.mark.parametrize(
    ("fault", "kind", "may_retry", "may_be_billed"),
    [
        ("rate_limited", "rate_limited", True, False),
        ("overloaded", "overloaded", True, False),
        ("overloaded_for_good", "overloaded", False, False),
        ("server_error", "server", True, False),
        ("spend_limit", "spend_limit", False, False),
        ("unauthorized", "rejected", False, False),
        ("bad_request", "bad_request", False, False),
        ("cut_before", "connection", True, True),
        ("cut_after", "connection", True, True),
        ("not_json", "bad_answer", True, True),
        ("slow", "timeout", True, True),
    ],
)
def test_each_failure_has_its_class(
    client: MessagesClient, server: FakeMessagesServer, fault: str, kind: str, may_retry: bool, may_be_billed: bool
) -> None:
    server.fail_next(fault, seconds=0.5 if fault == "slow" else 0.0)
    with pytest.raises(AttemptFailedError) as caught:
        client.ask(REQUEST, timeout_s=0.2)
    failure = caught.value
    assert (failure.kind, failure.may_retry, failure.may_be_billed) == (kind, may_retry, may_be_billed)
    assert len(server.started_at) == 1


def test_the_pause_that_a_server_asks_for_is_handed_on(client: MessagesClient, server: FakeMessagesServer) -> None:
    server.fail_next("rate_limited", seconds=7)
    with pytest.raises(AttemptFailedError) as caught:
        client.ask(REQUEST)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after-ms": "250"}, 0.25), ({"retry-after": "3"}, 3.0), ({}, None), ({"retry-after": "soon"}, None)],
)
def test_both_spellings_of_the_pause_are_read(headers: dict[str, str], seconds: float | None) -> None:
    assert _retry_after(headers) == seconds


def test_a_pause_until_a_date_is_read() -> None:
    assert (_retry_after({"retry-after": "Wed, 21 Oct 2065 07:28:00 GMT"}) or 0) > 1e6


def test_usage_without_a_breakdown_of_cache_writes_counts_them_as_the_short_kind() -> None:
    usage = _usage({"input_tokens": 1, "cache_creation_input_tokens": 9, "cache_read_input_tokens": None})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.cache_read_tokens) == (9, 0, 0)


def test_a_key_that_the_server_echoes_does_not_show(client: MessagesClient, server: FakeMessagesServer) -> None:
    server.fail_next("unauthorized")
    with pytest.raises(AttemptFailedError) as caught:
        client.ask(REQUEST)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__)
    assert "[key]" in str(caught.value)
    assert KEY not in repr(client)


def test_a_password_in_the_address_does_not_show() -> None:
    client = MessagesClient(api_key=KEY, base_url="http://user:hunter2@127.0.0.1:9")
    with pytest.raises(AttemptFailedError) as caught:
        client.ask(REQUEST, timeout_s=1)
    assert "hunter2" not in str(caught.value) + repr(client)
    assert caught.value.kind == "connection"


def test_without_an_address_the_client_talks_to_anthropic_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://somewhere.else")
    client = MessagesClient(api_key=KEY)
    assert str(client._sdk.base_url).rstrip("/") == "https://api.anthropic.com"


def test_a_server_without_batches_is_recognised() -> None:
    with FakeMessagesServer(has_batches=False) as server:
        assert not MessagesClient(api_key=None, base_url=server.base_url).offers_batches()
    with FakeMessagesServer() as server:
        assert MessagesClient(api_key=None, base_url=server.base_url).offers_batches()


def test_tokens_are_counted_by_the_server(client: MessagesClient, server: FakeMessagesServer) -> None:
    counted = client.count_tokens(REQUEST)
    usage = client.ask(REQUEST).received.usage
    assert counted == pytest.approx(usage.input_tokens + usage.cache_write_5m_tokens, abs=2)
    assert len(server.paid) == 1


def test_a_client_can_be_handed_to_another_process(client: MessagesClient) -> None:
    client.ask(REQUEST)
    assert pickle.loads(pickle.dumps(client)).ask(REQUEST).received.text


def test_importing_the_room_does_not_import_the_sdk() -> None:
    code = (
        "import sys, domain_embed_pipeline.questions.generation, domain_embed_pipeline.questions.estimate;"
        "sys.exit('anthropic' in sys.modules or 'httpx2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
