from __future__ import annotations

import pytest

from domain_embed_pipeline.pairs.splits import SplitSettings, split_documents
from domain_embed_pipeline.pairs.structural import StructuralSettings, prose_sentences, structural_pairs
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, documents_of, split_of

_FIRST = "Dr. Meyer found that heparin lowers the platelet count within 5 to 10 days."
_SECOND = "Argatroban is then given at 2 mcg per kg per min, e.g. as an infusion."


def _pairs_of(*texts: str, title: str = "", **settings: object) -> list[TrainingPair]:
    corpus = corpus_of(chunk_of(text, "a.md", title=title, position=place) for place, text in enumerate(texts))
    splits = split_documents(corpus, has_user_queries=True)
    return list(structural_pairs(corpus, splits, settings=StructuralSettings(**settings)).pairs)  # type: ignore[arg-type]


def _sentence_pairs(text: str, **settings: object) -> list[tuple[str, str]]:
    pairs = _pairs_of(text, max_adjacent_per_chunk=99, **settings)
    return sorted((pair.anchor, pair.positive) for pair in pairs if pair.source == "adjacent_sentence")


def test_a_title_goes_with_the_text_under_it() -> None:
    (pair,) = [pair for pair in _pairs_of(_FIRST, title="Heparin > HIT") if pair.source == "title_body"]
    assert (pair.anchor, pair.positive) == ("Heparin: HIT", _FIRST)


def test_a_title_over_several_chunks_gives_one_pair_with_the_first() -> None:
    pairs = _pairs_of(_FIRST, _SECOND, title="Heparin > HIT", use_adjacent_sentences=False)
    assert [pair.positive for pair in pairs] == [_FIRST]


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert _sentence_pairs(f"{_FIRST} {_SECOND}") == [(_FIRST, _SECOND)]


def test_sentences_run_on_over_line_breaks_but_not_over_paragraphs() -> None:
    wrapped = _FIRST.replace("that heparin", "that\nheparin")
    assert _sentence_pairs(f"{wrapped}\n{_SECOND}") == [(_FIRST, _SECOND)]
    assert _sentence_pairs(f"{_FIRST}\n\n{_SECOND}") == []


@pytest.mark.parametrize(
    "junk",
    [
        "# Heparin induced thrombocytopenia and its treatment",
        "- Stop every heparin product at once, flushes too.",
        "1. Stop every heparin product at once, flushes too.",
        "| Drug | Dose in the first hour of the treatment. |",
        "See https://example.org/heparin for all of the details of it.",
        "Introduction to heparin ........................ 12.",
        "Dose 12 14 16 18 20 22 24 26 28 30 32 34 36 38 40 42.",
        "Too short.",
        "Heparin induced thrombocytopenia without any full stop",
        "and the rest of a list item that began on the line above.",
    ],
)
def test_headings_lists_tables_links_and_contents_are_no_sentences(junk: str) -> None:
    found = {text for pair in _sentence_pairs(f"{junk}\n{_FIRST} {_SECOND}\n{junk}") for text in pair}
    assert found <= {_FIRST, _SECOND}


def test_texts_without_capitals_have_sentences_too() -> None:
    assert _sentence_pairs(f"{_FIRST} {_SECOND}".lower()) == [(_FIRST.lower(), _SECOND.lower())]


def test_caps_choose_by_seed_and_say_what_they_cost() -> None:
    corpus = corpus_of(documents_of(12, chunks_each=2))
    splits = split_documents(corpus, has_user_queries=True)
    chosen = [
        structural_pairs(
            corpus, splits, settings=StructuralSettings(max_title_body=5, max_adjacent_sentences=7, seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0].pairs != chosen[2].pairs
    assert {row.source: (row.candidates, row.rejected, row.kept) for row in chosen[0].counts} == {
        "title_body": (24, 19, 5),
        "adjacent_sentence": (48, 41, 7),
    }


def test_only_documents_on_the_train_side_are_used() -> None:
    corpus = corpus_of(documents_of(40))
    splits = split_documents(corpus, has_user_queries=False, settings=SplitSettings())
    sides = split_of(splits)
    document_of = {chunk.chunk_id: chunk.document_id for chunk in corpus.chunks}
    made = structural_pairs(corpus, splits)
    assert {sides[document_of[pair.chunk_id]] for pair in made.pairs} == {"train"}


def test_each_source_can_be_left_out() -> None:
    assert _pairs_of(f"{_FIRST} {_SECOND}", title="HIT", use_title_body=False, use_adjacent_sentences=False) == []


def test_prose_of_another_script_is_cut_at_its_own_full_stops() -> None:
    text = "心房細動は最も頻度の高い持続性不整脈である。治療の目標は心拍数の調節と脳梗塞の予防である。"
    assert [len(run) for run in prose_sentences(text, language="ja")] == [2]
