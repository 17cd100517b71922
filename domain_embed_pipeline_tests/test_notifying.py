"""A notice reaches the log, a webhook on loopback, and a function of the user's own."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain_embed_pipeline.errors import ConfigurationError, NotificationError
from domain_embed_pipeline.notifying import Notice, make_notifier

NOTICE = Notice(
    "job 1a2b: failed", "stage_one_model: too few pairs", "job", "1a2b3c", "http://localhost:3000/runs/1a2b3c"
)
kept: list[Notice] = []
"""What `keep` was called with."""


def keep(notice: Notice) -> None:
    kept.append(notice)


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict[str, str]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/secret"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_webhook_gets_a_text_that_chats_show_and_the_fields(webhook: Webhook) -> None:
    make_notifier(webhook.url)(NOTICE)
    (posted,) = webhook.posted
    assert posted["text"].splitlines() == [NOTICE.title, NOTICE.text, NOTICE.link]
    assert posted["run_id"] == NOTICE.run_id


def test_a_webhook_that_refuses_is_an_error_without_its_secret_url(webhook: Webhook) -> None:
    webhook.status = 503
    with pytest.raises(NotificationError, match="1a2b3c") as error:
        make_notifier(webhook.url)(NOTICE)
    assert "secret" not in str(error.value)


def test_a_function_by_its_import_path_gets_the_notice() -> None:
    make_notifier(f"{__name__}:keep")(NOTICE)
    assert kept[-1] == NOTICE


def test_the_log_has_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="domain_embed_pipeline"):
        make_notifier("log")(NOTICE)
    assert all(part in caplog.text for part in (NOTICE.title, NOTICE.text, NOTICE.link))


def test_a_notifier_that_is_not_there_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="no_such_module") as error:
        make_notifier("no_such_module:send")
    assert "DOMAIN_EMBED_NOTIFIER" in str(error.value)
