from __future__ import annotations

from domain_embed_pipeline.corpus.readers.plain_text import parse_text
from domain_embed_pipeline.corpus.structure import Block, ParsedDocument, ReadyChunk, Section


def blocks_of(text: str) -> tuple[Block, ...]:
    parsed = parse_text(text)
    assert isinstance(parsed, ParsedDocument)
    return parsed.sections[0].blocks


def test_a_short_first_line_is_the_title() -> None:
    assert parse_text("Chest pain\n\nGive aspirin.\n\nCall help.\n") == ParsedDocument(
        "Chest pain", (Section((), (Block("Give aspirin."), Block("Call help."))),)
    )


def test_a_first_paragraph_that_is_a_sentence_is_no_title() -> None:
    parsed = parse_text("Give aspirin.\n\nCall help.")
    assert isinstance(parsed, ParsedDocument)
    assert parsed.title == ""


def test_line_breaks_of_a_paragraph_are_kept() -> None:
    assert blocks_of("Give aspirin\nat once.") == (Block("Give aspirin\nat once."),)


def test_a_paragraph_of_items_is_cut_between_lines_only() -> None:
    assert blocks_of("1. aspirin\n2. oxygen\n   if needed\n3. call help") == (
        Block("1. aspirin\n2. oxygen\n   if needed\n3. call help", "lines"),
    )


def test_a_separator_line_makes_ready_chunks() -> None:
    assert parse_text("First.\n\nStill first.\n---\nSecond.\n---\n\n") == [
        ReadyChunk("First.\n\nStill first."),
        ReadyChunk("Second."),
    ]


def test_a_longer_rule_or_a_dash_in_a_line_is_no_separator() -> None:
    assert isinstance(parse_text("One.\n----\nTwo --- three.\n --- \n"), ParsedDocument)
