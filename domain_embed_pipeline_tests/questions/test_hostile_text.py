from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from domain_embed_pipeline.questions.client import MessagesClient
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.prompt import build_request
from domain_embed_pipeline.questions.settings import STYLES
from domain_embed_pipeline.tables import save_record
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer, Fault
from domain_embed_pipeline_tests.questions.hostile_chunks import hostile_texts, obedient_answer
from domain_embed_pipeline_tests.questions.scenario import fast, make_chunk

TEXTS = hostile_texts()
CHUNKS = [make_chunk(text, document_id=f"hostile-{number}.md") for number, text in enumerate(TEXTS)]


def test_there_are_fifty_different_ones() -> None:
    assert len({chunk.chunk_id for chunk in CHUNKS}) == 50


@pytest.mark.parametrize("shape", [0, 1, *(pytest.param(shape, marks=pytest.mark.slow) for shape in range(2, 10))])
def test_no_invalid_question_of_an_obedient_model_passes(
    sqlite_ledger: Ledger, client: MessagesClient, server: FakeMessagesServer, tmp_path: Path, shape: int
) -> None:
    answers: dict[str, str] = {}

    def obey(text: str) -> Fault:
        number = answers.setdefault(text, str(len(answers)))
        return Fault("text", text=obedient_answer(text, int(number) + shape))

    server.fault_for = obey
    settings = fast(circuit_breaker_failures=1000)
    result = generate_questions(CHUNKS, settings=settings, ledger=sqlite_ledger, client=client)
    assert (result.unanswered, result.stopped_reason) == (0, None)
    text_of = {chunk.chunk_id: chunk.text for chunk in CHUNKS}
    for question in result.questions:
        assert question.style in STYLES
        assert 2 <= len(question.text) <= 200
        assert len(question.text.splitlines()) == 1
        assert not [c for c in question.text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")]
        for address in re.findall(r"https?://\S+|\S+@\S+\.\S+", question.text):
            assert address.rstrip("?.,") in text_of[question.chunk_id]
    assert result.rejected
    assert all(row.text.isprintable() for row in result.rejected)
    save_record(result, str(tmp_path / "generated"))


def test_hostile_text_stays_inside_its_tags_and_is_bounded() -> None:
    for chunk in CHUNKS:
        (message,) = build_request(chunk, fast())["messages"]
        content = message["content"]
        assert content.startswith("<passage>\n{")
        assert content.endswith("}\n</passage>")
        assert len(re.findall(r"</?passage>", content)) == 2
        assert len(content) < 50_000
        assert not [c for c in content if unicodedata.category(c) in ("Cf", "Cs", "Co", "Cn")]


def test_a_model_that_ignores_the_instructions_in_the_text_asks_as_usual(
    sqlite_ledger: Ledger, client: MessagesClient
) -> None:
    result = generate_questions(CHUNKS, settings=fast(), ledger=sqlite_ledger, client=client)
    assert result.unanswered == 0
    assert len(result.questions) > 100
