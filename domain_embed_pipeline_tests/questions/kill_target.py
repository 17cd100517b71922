"""What a process does that the kill tests kill: one run of the question step."""

from __future__ import annotations

from typing import Any

from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline_tests.questions.conftest import KEY
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunks


def run(base_url: str, ledger_url: str, count: int, changes: dict[str, Any]) -> None:
    """Ask about `count` chunks."""
    with Ledger(ledger_url) as ledger:
        client = MessagesClient(api_key=KEY, base_url=base_url)
        generate_questions(make_chunks(count), settings=fast(**changes), ledger=ledger, client=client)
