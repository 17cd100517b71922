"""Thirty kinds of junk, each dropped for its reason; and genuine pairs that look like junk and stay."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.errors import PairsError
from domain_embed_pipeline.pairs.filters.chain import all_filters, apply_filters, wording_filters
from domain_embed_pipeline.pairs.filters.settings import FILTER_NAMES, FilterSettings
from domain_embed_pipeline.records import PairSource, TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, pair_of

_PASSAGE = (
    "Heparin is stopped at once and argatroban is started when the platelets fall by half. The antibody test is sent, "
    "and no warfarin is given before the platelets are above 150."
)
_ASK = "what to give instead of heparin in HIT"

_JUNK: list[tuple[str, str, str, PairSource]] = [
    ("too_short", "HIT?", _PASSAGE, "question"),
    ("too_short", "Thrombocytopenia", _PASSAGE, "question"),
    ("too_short", "4.2.1 - 12/07", _PASSAGE, "title_body"),
    ("too_short", "See the table.", _PASSAGE, "adjacent_sentence"),
    ("passage_too_short", _ASK, "See above.", "question"),
    ("table_of_contents", _ASK, "Contents\nIntroduction ........ 1\nDosing ........ 7\nIndex ........ 90", "question"),
    (
        "table_of_contents",
        _ASK,
        "1 Scope 3\n2 Dosing 7\n2.1 Adults 8\n2.2 Children 12\n3 References 40",
        "question",
    ),
    ("table_of_contents", _ASK, "Preface\t4\nDosing\t9\nRenal failure\t15\nBleeding\t22\nIndex\t80", "question"),
    (
        "link_list",
        _ASK,
        "https://example.org/heparin-guideline\nhttps://example.org/warfarin-guideline\nwww.example.org/doac",
        "question",
    ),
    ("link_list", _ASK, "[Heparin](h.html) [Warfarin](w.html) [Argatroban](a.html) [Index](index.html)", "question"),
    ("boilerplate", _ASK, "© 2024 General Hospital. All rights reserved.", "question"),
    ("boilerplate", _ASK, "Home | About us | Wards | Contact | Jobs | Imprint", "question"),
    ("boilerplate", _ASK, "We use cookies to improve this site. Read our privacy policy.", "question"),
    ("boilerplate", _ASK, "This page is intentionally left blank for the printer.", "question"),
    ("boilerplate", _ASK, "Lorem ipsum dolor sit amet, consectetur adipiscing elit.", "question"),
    ("figures", _ASK, "12.4 33.1 0.7 | 88.2 14.9 3.3 | 17.0 22.8 1.1 | 45.5 9.6 2.2", "question"),
    (
        "figures",
        _ASK,
        "H\ufffdp\ufffdrin \ufffd\ufffd w\ufffdrd st\ufffdpp\ufffdd \ufffdt once.",
        "question",
    ),
    ("repetition", _ASK, "heparin " * 20, "question"),
    ("repetition", _ASK, "q2hH8d" * 30, "question"),
    ("artifact", "I'm sorry, but the text does not contain enough information.", _PASSAGE, "question"),
    ("artifact", "As an AI language model I cannot answer that.", _PASSAGE, "question"),
    ("artifact", "Here are three questions about heparin:", _PASSAGE, "question"),
    ("artifact", '{"question": "What is given instead of heparin?"}', _PASSAGE, "question"),
    ("artifact", "Question 2: what is given instead of heparin", _PASSAGE, "question"),
    ("artifact", "What does [insert drug name] do to platelets?", _PASSAGE, "question"),
    ("artifact", "What is <b>HIT</b> and how is it treated?", _PASSAGE, "question"),
    ("artifact", "https://example.org/heparin", _PASSAGE, "question"),
    ("artifact", "Untitled document", _PASSAGE, "title_body"),
    ("other_language", "Wie wird eine durch Heparin ausgelöste Thrombozytopenie behandelt?", _PASSAGE, "question"),
    ("other_language", "чем заменить гепарин", _PASSAGE, "question"),
    ("context_dependent", "What does this section say about heparin?", _PASSAGE, "question"),
    ("context_dependent", "According to the passage, what is given?", _PASSAGE, "question"),
    ("context_dependent", "What is the author's view of argatroban?", _PASSAGE, "question"),
    ("context_dependent", "Which drugs are mentioned in the text?", _PASSAGE, "question"),
    ("context_dependent", "Which of the drugs listed above is stopped?", _PASSAGE, "question"),
    ("context_dependent", "However, this must not be done before the test.", _PASSAGE, "adjacent_sentence"),
    ("copy_of_chunk", "argatroban is started when the platelets fall by half?", _PASSAGE, "question"),
]

_GENUINE: list[tuple[str, PairSource]] = [
    ("HIT 4Ts score", "question"),
    ("AF", "user"),
    ("INR 7, no bleeding", "question"),
    ("platelets fall by half", "question"),
    ("The malware can modify the document and the registry section", "user"),
    ("how is the context of a thread switched", "question"),
    ("Can the text size in the monitor be changed?", "question"),
    ("create user with cmd.exe /c net user {Username}", "question"),
    ("what does <curl> do in a batch file", "question"),
    ("Heparin", "title_body"),
    ("CPR", "title_body"),
    ("Here are the ranges of the platelet count in adults.", "adjacent_sentence"),
    ("Wie behandelt man HIT?", "user"),
    ("What is the outlook for Gerstmann's Syndrome?", "question"),
    ("heparin HIT \u2265 4 points argatroban 2 \u00b5g/kg/min", "question"),
]


def _pair(anchor: str, passage: str, source: PairSource) -> TrainingPair:
    return pair_of(anchor, passage, source=source)


_ALL = [_pair(*row[1:]) for row in _JUNK] + [_pair(anchor, _PASSAGE, source) for anchor, source in _GENUINE]
_CORPUS = corpus_of([chunk_of(pair.positive) for pair in _ALL])
_CLUSTERS = {chunk.chunk_id: chunk.chunk_id for chunk in _CORPUS.chunks}
_FILTERS = all_filters(FilterSettings(), _CORPUS, chunk_clusters=_CLUSTERS)


@pytest.mark.parametrize(("reason", "anchor", "passage", "source"), _JUNK)
def test_junk_is_dropped_for_its_reason(reason: str, anchor: str, passage: str, source: PairSource) -> None:
    result = apply_filters([_pair(anchor, passage, source)], wording_filters(FilterSettings(), _CORPUS))
    assert [(row.reason, row.anchor) for row in result.dropped] == [(reason, anchor)]


@pytest.mark.parametrize(("anchor", "source"), _GENUINE)
def test_genuine_pairs_that_look_odd_are_kept(anchor: str, source: PairSource) -> None:
    pair = _pair(anchor, _PASSAGE, source)
    assert apply_filters([pair], _FILTERS).kept == (pair,)


@pytest.mark.parametrize(
    "passage",
    [
        _PASSAGE + "\n\n© 2024 General Hospital. All rights reserved.",
        "Drug | Dose | Note\nHeparin | 80 units per kg | bolus\nArgatroban | 2 mcg per kg per min | no bolus",
        "Drug | Dose | Route | Weight | Note\nHeparin | Low | Vein | Full | Bolus\nWarfarin | Low | Mouth | Any | Slow",
        "An intruder can log in without the password when the hash is known, which is why hashes are salted.",
        "Troponin T: 14 ng/l. Repeat after 1 h: a rise of 5 ng/l or more rules in infarction.",
        "Type 1 diabetes\nType 2 diabetes\nGestational diabetes of the 3rd trimester",
        "Steps:\n1. Stop heparin.\n2. Send the antibody test.\n3. Start argatroban at 2 mcg per kg per min.",
        "Click here to open the order set. It holds heparin, argatroban and the antibody test, with doses by weight.",
    ],
)
def test_passages_with_some_noise_are_kept(passage: str) -> None:
    pair = _pair(_ASK, passage, "question")
    corpus = corpus_of([chunk_of(passage)])
    assert apply_filters([pair], wording_filters(FilterSettings(), corpus)).kept == (pair,)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(_ALL), max_size=40), st.randoms(use_true_random=False))
def test_filters_are_idempotent_and_blind_to_the_order_of_pairs(pairs: list[TrainingPair], rng: random.Random) -> None:
    once = apply_filters(pairs, _FILTERS)
    assert len(once.kept) + len(once.dropped) == len(pairs)
    assert apply_filters(once.kept, _FILTERS).kept == once.kept
    shuffled = rng.sample(pairs, len(pairs))
    again = apply_filters(shuffled, _FILTERS)
    assert set(again.kept) == set(once.kept)
    assert sorted(map(repr, again.dropped)) == sorted(map(repr, once.dropped))


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_the_wording_filters_does_not_change_what_they_keep(order: list[int]) -> None:
    filters = wording_filters(FilterSettings(), _CORPUS)
    expected = apply_filters(_ALL, filters).kept
    assert apply_filters(_ALL, [filters[place] for place in order]).kept == expected


_REASONS = {
    "short": {"too_short", "passage_too_short"},
    "boilerplate": {"table_of_contents", "link_list", "boilerplate", "figures", "repetition"},
    "artifacts": {"artifact"},
    "other_language": {"other_language"},
    "context_dependent": {"context_dependent"},
    "copies": {"copy_of_chunk"},
    "duplicates": {"duplicate", "ambiguous"},
}


def test_every_filter_can_be_switched_off_by_name() -> None:
    twins = [_pair(_ASK, _PASSAGE, "title_body"), _pair(_ASK, _PASSAGE, "question")]
    assert set(_REASONS) == set(FILTER_NAMES)
    for name, reasons in _REASONS.items():
        filters = all_filters(FilterSettings().without([name]), _CORPUS, chunk_clusters=_CLUSTERS)
        found = {row.reason for row in apply_filters([*_ALL, *twins], filters).dropped}
        assert not found & reasons, name
    nothing = all_filters(FilterSettings().without(FILTER_NAMES), _CORPUS, chunk_clusters=_CLUSTERS)
    assert apply_filters([*_ALL, *twins], nothing).dropped == ()


def test_a_filter_that_does_not_exist_is_named() -> None:
    with pytest.raises(PairsError, match="No filter is named typos"):
        FilterSettings().without(["typos"])


def test_a_judge_that_was_asked_for_and_not_given_is_refused() -> None:
    with pytest.raises(PairsError, match='judge is "all" but no judge'):
        all_filters(FilterSettings(judge="all"), _CORPUS, chunk_clusters=_CLUSTERS)
    with pytest.raises(PairsError, match="round_trip_max_rank is not set"):
        FilterSettings(judge="hard")


def test_a_round_trip_without_an_encoder_is_refused() -> None:
    with pytest.raises(PairsError, match="round_trip_max_rank is 50 but no encoder"):
        all_filters(FilterSettings(round_trip_max_rank=50), _CORPUS, chunk_clusters=_CLUSTERS)
