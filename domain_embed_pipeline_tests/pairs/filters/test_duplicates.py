from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.pairs.filters.duplicates import duplicates
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import pair_of

_CLUSTERS = {"c1": "c1", "c2": "c1", "c3": "c3"}


def _outcome(*pairs: TrainingPair) -> tuple[list[str], list[str]]:
    result = duplicates(pairs, settings=FilterSettings(), chunk_clusters=_CLUSTERS)
    return [pair.anchor for pair in result.kept], [row.reason for row in result.dropped]


def test_the_same_words_for_one_chunk_are_one_question_in_any_order() -> None:
    for other, reason in (("Heparin dose, in HIT?", "duplicate"), ("Dose in HIT: heparin?", "near_duplicate")):
        kept, reasons = _outcome(pair_of("heparin dose in HIT", chunk_id="c1"), pair_of(other, chunk_id="c1"))
        assert len(kept) == 1
        assert reasons == [reason]


def test_the_order_of_words_matters_between_unlike_chunks() -> None:
    kept, _ = _outcome(
        pair_of("switch from heparin to warfarin", chunk_id="c1"),
        pair_of("switch from warfarin to heparin", chunk_id="c3"),
    )
    assert len(kept) == 2


def test_nearly_the_same_question_for_near_duplicate_chunks_is_one_question() -> None:
    kept, reasons = _outcome(
        pair_of("What is the recommended dose of heparin in HIT?", chunk_id="c1"),
        pair_of("What is the recommended doses of heparin in HIT?", chunk_id="c2"),
    )
    assert len(kept) == 1
    assert reasons == ["near_duplicate"]


def test_nearly_the_same_question_for_unlike_chunks_stays() -> None:
    kept, reasons = _outcome(
        pair_of("What is the dose of heparin in children?", chunk_id="c1"),
        pair_of("What is the dose of heparin in children now?", chunk_id="c3"),
    )
    assert len(kept) == 2
    assert reasons == []


def test_different_questions_of_one_chunk_stay() -> None:
    kept, _ = _outcome(
        pair_of("What is the dose of heparin?", chunk_id="c1"),
        pair_of("What is the dose of argatroban?", chunk_id="c1"),
    )
    assert len(kept) == 2


def test_the_same_question_for_unlike_chunks_is_ambiguous_and_both_go() -> None:
    kept, reasons = _outcome(pair_of("side effects", chunk_id="c1"), pair_of("Side effects?", chunk_id="c3"))
    assert kept == []
    assert reasons == ["ambiguous", "ambiguous"]


def test_the_same_question_for_two_chunks_of_one_section_is_kept_once() -> None:
    pairs = [pair_of("side effects", chunk_id=chunk_id) for chunk_id in ("c1", "c3")]
    sections = {"c1": "heparin.md > Side effects", "c3": "heparin.md > Side effects"}
    result = duplicates(pairs, settings=FilterSettings(), chunk_clusters=_CLUSTERS, chunk_sections=sections)
    assert len(result.kept) == 1
    assert [row.reason for row in result.dropped] == ["duplicate"]


def test_a_user_query_may_have_several_answers_and_outweighs_a_question() -> None:
    users = [pair_of("side effects", f"Passage {name}", source="user", chunk_id=name) for name in ("c1", "c2", "c3")]
    kept, reasons = _outcome(pair_of("Side effects", chunk_id="c3"), *users)
    assert kept == ["side effects"] * 3
    assert reasons == ["duplicate"]


def test_queries_of_the_user_that_look_alike_are_left_alone_and_questions_like_them_go() -> None:
    users = [pair_of(f"What to know about hepatitis {kind}?", source="user", chunk_id="c1") for kind in "AC"]
    kept, reasons = _outcome(*users, pair_of("What to know about hepatitis B?", chunk_id="c2"))
    assert kept == [pair.anchor for pair in users]
    assert reasons == ["near_duplicate"]


def test_one_pair_from_two_sources_is_kept_as_the_better_source() -> None:
    result = duplicates(
        [pair_of("heparin dose", source="title_body", chunk_id="c1"), pair_of("heparin dose", chunk_id="c1")],
        settings=FilterSettings(),
        chunk_clusters=_CLUSTERS,
    )
    assert [pair.source for pair in result.kept] == ["question"]


_WORDS = st.lists(st.sampled_from(["dose", "of", "heparin", "warfarin", "HIT"]), min_size=1, max_size=4)
_PAIRS = st.builds(
    lambda words, chunk_id, source: pair_of(" ".join(words), f"About {chunk_id}", source=source, chunk_id=chunk_id),
    _WORDS,
    st.sampled_from(sorted(_CLUSTERS)),
    st.sampled_from(["question", "user", "title_body"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_PAIRS, max_size=12), st.randoms(use_true_random=False))
def test_duplicates_are_idempotent_blind_to_order_and_lose_nobody(
    pairs: list[TrainingPair], rng: random.Random
) -> None:
    def run(given_pairs: list[TrainingPair] | tuple[TrainingPair, ...]) -> tuple[TrainingPair, ...]:
        result = duplicates(given_pairs, settings=FilterSettings(), chunk_clusters=_CLUSTERS)
        assert len(result.kept) + len(result.dropped) == len(given_pairs)
        return result.kept

    kept = run(pairs)
    assert run(kept) == kept
    assert sorted(map(repr, run(rng.sample(pairs, len(pairs))))) == sorted(map(repr, kept))
