"""Telling people that a run failed: to the log, to a webhook, or through a function of your own.

What belongs here: a notice and the ways it can go. What does not: when there is something to tell (`defs/run_sensors`).
"""

from __future__ import annotations

import importlib
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass

from domain_embed_pipeline.errors import ConfigurationError, NotificationError

logger = logging.getLogger(__name__)

WEBHOOK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody should know."""

    title: str
    text: str
    """One line a failed step, with its cause and the fix."""
    job: str
    run_id: str
    link: str
    """The run in the web UI."""


Notifier = Callable[[Notice], None]


def make_notifier(target: str) -> Notifier:
    """The way a notice goes.

    Args:
        target: `log`, an http(s) URL that takes a JSON POST (Slack, Teams, Mattermost, ... read its `text`), or
            `package.module:function`, called with the `Notice`.

    Raises:
        ConfigurationError: If it is none of these, or the function cannot be imported.
    """
    if target == "log":
        return _log
    if target.startswith(("http://", "https://")):
        return lambda notice: _post(target, notice)
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"The notifier {target!r} cannot be imported: {error}",
            fix="Set DOMAIN_EMBED_NOTIFIER to log, an http(s) URL, or package.module:function.",
        ) from error


def _log(notice: Notice) -> None:
    logger.error("%s\n%s\n%s", notice.title, notice.text, notice.link)


def _post(url: str, notice: Notice) -> None:
    """One POST. The URL of a webhook is its password, so no message repeats it."""
    body = asdict(notice) | {"text": f"{notice.title}\n{notice.text}\n{notice.link}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
            pass
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise NotificationError(
            f"The webhook did not take the notice of run {notice.run_id}: {reason}",
            fix="Check DOMAIN_EMBED_NOTIFIER and that the service behind it answers.",
        ) from None
