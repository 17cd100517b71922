from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain_embed_pipeline.corpus.sentences import halve, split_sentences


@given(st.text())
def test_sentences_join_to_the_text_again(text: str) -> None:
    assert "".join(split_sentences(text, "en")) == text


@given(st.text(min_size=2))
def test_halves_join_to_the_text_and_neither_is_empty(text: str) -> None:
    first, second = halve(text)
    assert first + second == text
    assert first
    assert second


@pytest.mark.parametrize(
    ("text", "language", "sentences"),
    [
        ("EF was 35% (cf. Fig. 2). Dr. Smith came at 3 p.m. on Monday.", "en", 2),
        ("Give 2.5 mg b.i.d. for 5 days. Then stop.", "en", 2),
        ("Das ist z.B. ein Test. Er ging.", "de", 2),
        ("這是一個測試。我們走吧！", "en", 2),
        ("यह एक परीक्षण है। हम चलें।", "hi", 2),
    ],
)
def test_abbreviations_and_scripts_are_understood(text: str, language: str, sentences: int) -> None:
    assert len(split_sentences(text, language)) == sentences


def test_a_line_break_inside_a_paragraph_is_no_sentence_end() -> None:
    assert split_sentences("The patient\nwas admitted. He left.", "en") == ["The patient\nwas admitted. ", "He left."]


def test_an_item_number_stays_with_its_item() -> None:
    assert split_sentences("1. First do this. 2. Then that.", "en") == ["1. First do this. ", "2. Then that."]


def test_a_long_text_is_cut_at_a_clause_before_a_word() -> None:
    first, second = halve("alpha beta gamma delta; epsilon zeta eta theta")
    assert (first, second) == ("alpha beta gamma delta; ", "epsilon zeta eta theta")
