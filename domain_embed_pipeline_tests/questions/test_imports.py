from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.errors import QuestionImportError
from domain_embed_pipeline.questions.generation import generate_questions
from domain_embed_pipeline.questions.imports import ImportSummary, import_questions
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline_tests.questions.scenario import corpus_of, fast, make_chunk, make_chunks

CHUNKS = make_chunks(5)
CORPUS = corpus_of(CHUNKS)


@pytest.fixture
def load(tmp_path: Path, ledger: Ledger) -> Any:
    def run(*lines: Any, generator: str = "hand") -> ImportSummary:
        path = tmp_path / "questions.jsonl"
        rendered = [
            line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines
        ]
        path.write_bytes(b"\n".join(rendered) + b"\n")
        return import_questions(str(path), corpus=CORPUS, ledger=ledger, generator=generator)

    return run


def recorded(ledger: Ledger) -> set[tuple[str, str, str]]:
    found = ledger.recorded(chunk.chunk_id for chunk in CHUNKS)
    names = {chunk.chunk_id: chunk.external_ids[0] for chunk in CHUNKS}
    return {(names[row.chunk_id], row.style, row.text) for rows in found.values() for row in rows}


def test_a_line_names_its_chunk_by_the_users_id_or_ours_or_by_its_text(load: Any, ledger: Ledger) -> None:
    summary = load(
        {"chunk_id": "u0", "natural": "How is zero?"},
        {"chunk_id": CHUNKS[1].chunk_id, "natural": "How is one?"},
        {"_id": "u2", "natural": "How is two?"},
        {"text": f"  {CHUNKS[3].text.replace(' ', chr(10))} ", "title": "another title", "natural": "How is three?"},
        {"chunk_id": "gone", "text": CHUNKS[4].text, "natural": "How is four?"},
    )
    assert (summary.lines, summary.matched_lines, summary.chunks, summary.added) == (5, 5, 5, 5)
    assert {name for name, _, _ in recorded(ledger)} == {"u0", "u1", "u2", "u3", "u4"}


def test_every_other_key_is_a_style_of_one_question_or_several(load: Any, ledger: Ledger) -> None:
    load(
        {
            "chunk_id": "u0",
            "title": "Unit 0",
            "source": "unit-0.md",
            "natural": ["How is it opened?", "How is it closed?"],
            "keyword": "unit 0 drain",
            "styled": {"situation": "it drips all night", "specific": ["At which limit?"]},
        }
    )
    assert recorded(ledger) == {
        ("u0", "natural", "How is it opened?"),
        ("u0", "natural", "How is it closed?"),
        ("u0", "keyword", "unit 0 drain"),
        ("u0", "situation", "it drips all night"),
        ("u0", "specific", "At which limit?"),
    }


def test_a_text_that_stands_under_two_titles_gives_both_chunks_the_questions(ledger: Ledger, tmp_path: Path) -> None:
    twins = [make_chunk("The same words.", title="A"), make_chunk("The same words.", title="B")]
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "The same words.", "natural": "Which words?"}\n', encoding="utf-8")
    summary = import_questions(str(path), corpus=corpus_of(twins), ledger=ledger, generator="hand")
    assert (summary.matched_lines, summary.chunks, summary.added) == (1, 2, 2)


def test_a_line_that_names_a_document_gives_each_question_to_its_nearest_chunk(ledger: Ledger, tmp_path: Path) -> None:
    parts = [
        make_chunk("The pump is drained by the lower valve.", title="Draining", document_id="pump.md"),
        make_chunk("Seal wear shows as oil on the shaft.", title="Wear", document_id="pump.md"),
        make_chunk("Oil of the gearbox: seal it after draining the pump.", document_id="gearbox.md"),
    ]
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"chunk_id": "pump.md", "natural": ["oil on the shaft", "How is it drained?"]}\n', encoding="utf-8"
    )
    summary = import_questions(str(path), corpus=corpus_of(parts), ledger=ledger, generator="hand")
    assert (summary.matched_lines, summary.chunks, summary.added) == (1, 2, 2)
    found = ledger.recorded(chunk.chunk_id for chunk in parts)
    assert {chunk_id: [row.text for row in rows] for chunk_id, rows in found.items() if rows} == {
        parts[1].chunk_id: ["oil on the shaft"],
        parts[0].chunk_id: ["How is it drained?"],
    }


def test_importing_again_changes_nothing_and_more_styles_are_added(load: Any, ledger: Ledger) -> None:
    line = {"chunk_id": "u0", "natural": "How is it opened?"}
    assert load(line).added == 1
    again = load(line)
    assert (again.added, again.questions) == (0, 1)
    assert load({**line, "keyword": "unit 0 drain"}).added == 1
    assert len(recorded(ledger)) == 2


def test_lines_without_a_chunk_and_bad_lines_are_listed_with_their_numbers(load: Any) -> None:
    summary = load(
        {"chunk_id": "u0", "natural": "How is it opened?"},
        {"chunk_id": "nobody", "natural": "How?"},
        b"{not json",
        b"",
        b"[1, 2]",
        b'{"chunk_id": "u1", "natural": "caf\xe9?"}',
        {"natural": "About what?"},
        {"chunk_id": "u1"},
    )
    assert (summary.lines, summary.matched_lines) == (7, 1)
    assert [(row.line_number, row.reason) for row in summary.unmatched] == [(2, "unmatched")]
    assert "'nobody'" in summary.unmatched[0].detail
    assert [(row.line_number, row.reason) for row in summary.bad] == [
        (3, "not_json"),
        (5, "not_an_object"),
        (6, "not_utf8"),
        (7, "no_chunk_named"),
        (8, "no_question"),
    ]


def test_questions_that_are_none_are_rejected_and_the_rest_of_the_line_is_kept(load: Any, ledger: Ledger) -> None:
    summary = load({"chunk_id": "u0", "natural": ["Fine?!", "a\nb c", "x" * 300, 7, "hid\u202eden one"], "": "Which?"})
    assert [row.reason for row in summary.rejected_questions] == [
        "several_lines", "too_long", "not_text", "hidden_characters", "bad_style",
    ]  # fmt: skip
    assert recorded(ledger) == {("u0", "natural", "Fine?!")}


def test_a_users_own_question_may_hold_an_address(load: Any) -> None:
    assert load({"chunk_id": "u0", "natural": "Who reads help@ward.org?"}).added == 1


def test_a_byte_order_mark_is_no_reason_to_lose_the_first_line(load: Any) -> None:
    assert load(b'\xef\xbb\xbf{"chunk_id": "u0", "natural": "How is it opened?"}').added == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"no json at all\n"])
def test_a_file_without_a_usable_line_is_refused(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(QuestionImportError, match=r"q\.jsonl"):
        import_questions(str(path), corpus=CORPUS, ledger=ledger, generator="hand")


def test_a_file_that_is_not_there_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(QuestionImportError, match=r"nowhere\.jsonl cannot be read"):
        import_questions(str(tmp_path / "nowhere.jsonl"), corpus=CORPUS, ledger=ledger, generator="hand")


def test_imported_questions_carry_their_generator_and_cost_nothing(load: Any, ledger: Ledger) -> None:
    load({"chunk_id": "u0", "plain": ["How is it?"], "styled": ["it drips"]}, generator="opus, by hand")
    result = generate_questions(CHUNKS, settings=fast(), ledger=ledger, client=None)
    assert {question.generator for question in result.questions} == {"opus, by hand"}
    assert {question.style for question in result.questions} == {"plain", "styled"}
    assert (result.recorded, result.ledger_cost_usd, result.cost_per_1000_questions) == (1, 0.0, 0.0)
