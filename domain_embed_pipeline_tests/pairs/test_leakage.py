from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.pairs.leakage import certificate_digest, certify, find_leaks
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.records import Leak
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import SynonymEncoder, evaluation_set_of, pair_of

_QUERY = "elevated troponin after marathon running"
_DRUGS = "heparin warfarin digoxin amiodarone apixaban dabigatran edoxaban ticagrelor prasugrel clopidogrel".split()
_BACKGROUND = [pair_of(f"What is the dose of {drug} in renal failure?") for drug in _DRUGS] + [
    pair_of(text)
    for text in (
        "when to stop anticoagulants before surgery",
        "marathon of ward rounds on Mondays",
        "troponin rising without chest pain",
        "running a code in the corridor",
    )
]
_ENCODER = SynonymEncoder("elevated raised high", "running race", "after post following", "troponin tnt")


def _detectors(anchor: str, query: str = _QUERY, *, with_encoder: bool = False, source: str = "question") -> set[str]:
    leaky = pair_of(anchor, source=source)  # type: ignore[arg-type]
    leaks = find_leaks([leaky, *_BACKGROUND], evaluation_set_of([query]), encoder=_ENCODER if with_encoder else None)
    assert all(leak.pair_id == leaky.pair_id for leak in leaks)
    return {leak.detector for leak in leaks}


def test_a_query_copied_verbatim_is_found_by_two_detectors() -> None:
    assert _detectors("Elevated  troponin after marathon running?") == {"exact", "shingle"}


def test_a_reordered_query_is_found_by_its_words() -> None:
    assert _detectors("after running marathon, troponin elevated") == {"shingle"}


@pytest.mark.parametrize("place", range(5))
def test_a_query_of_five_words_with_any_one_changed_is_found(place: int) -> None:
    words = _QUERY.split()
    words[place] = "xyz"
    assert _detectors(" ".join(words)) == {"shingle"}


def test_a_query_quoted_within_a_longer_anchor_is_found() -> None:
    anchor = f"A colleague asked me on the ward yesterday about {_QUERY} in a man of forty years without symptoms"
    assert _detectors(anchor) == {"shingle"}


def test_a_paraphrase_is_found_by_the_encoder_only() -> None:
    paraphrase = "post marathon race raised TnT"
    assert _detectors(paraphrase) == set()
    assert _detectors(paraphrase, with_encoder=True) == {"embedding"}


_ASKED = "alpha beta gamma delta epsilon zeta"
_REWORDED = "alpha beta gamma delta one two"
"""Two thirds of the words: a cosine of 0.67, and too few for the shingle detector."""
_SIBLINGS = [
    pair_of(f"s{number} t{number} {words}{number}", chunk_id=f"c{number}")
    for number in range(120)
    for words in (f"u{number} v", f"w{number} x")
]
"""Two questions a passage, half of whose words are the same: a cosine of 0.5."""


def _paraphrases(chunk_id: str, *others: TrainingPair, clusters: dict[str, str] | None = None) -> set[str]:
    leaky = pair_of(_REWORDED, chunk_id=chunk_id)
    leaks = find_leaks(
        [leaky, *others], evaluation_set_of({_ASKED: ["answer"]}), encoder=SynonymEncoder(), chunk_clusters=clusters
    )
    assert all(leak.pair_id == leaky.pair_id for leak in leaks)
    return {leak.detector for leak in leaks}


def test_about_the_answer_a_text_is_a_paraphrase_when_nearer_than_different_questions_of_one_passage() -> None:
    assert _paraphrases("answer", *_SIBLINGS) == {"embedding"}


def test_about_another_passage_the_same_text_is_another_question() -> None:
    assert _paraphrases("elsewhere", *_SIBLINGS) == set()


def test_a_near_duplicate_of_the_answer_is_the_answer() -> None:
    assert _paraphrases("twin", *_SIBLINGS, clusters={"answer": "answer", "twin": "answer"}) == {"embedding"}


def test_where_too_few_passages_have_several_questions_only_a_high_cosine_counts() -> None:
    assert _paraphrases("answer", *_SIBLINGS[:40]) == set()


def test_a_model_that_puts_all_texts_close_together_does_not_make_every_question_a_paraphrase() -> None:
    generator = random.Random(0)
    words = [f"w{number}" for number in range(100)]
    texts = [" ".join(generator.sample(words, 97)) for _ in range(120)]  # cosines from 0.97 on
    pairs = [pair_of(text, chunk_id=f"c{number}") for number, text in enumerate(texts[60:])]
    copy = pair_of(" ".join(reversed(texts[7].split())), chunk_id="answer")
    leaks = find_leaks([*pairs, copy], evaluation_set_of(texts[:60]), encoder=SynonymEncoder())
    found = {leak.pair_id for leak in leaks if leak.detector == "embedding"}
    assert copy.pair_id in found
    assert len(found) < 10


@pytest.mark.parametrize(
    "anchor",
    [
        "What is the dose of rivaroxaban in renal failure?",
        "elevated potassium after digoxin",
        "The troponin was elevated in a patient who came in after a long day of work and had been running for a bus",
        "marathon running",
    ],
)
def test_other_questions_that_share_words_are_not_leaks(anchor: str) -> None:
    assert _detectors(anchor) == set()


def test_questions_of_one_pattern_about_different_things_are_not_leaks() -> None:
    query = "What is the dose of rivaroxaban in renal failure?"
    assert find_leaks(_BACKGROUND, evaluation_set_of([query])) == ()


@pytest.mark.parametrize(
    ("anchor", "chunk_id", "is_leak"),
    [
        ("troponin elevated after marathon running", "elsewhere", True),
        (f"somebody asked me today: {_QUERY} or not", "elsewhere", True),
        ("elevated potassium after marathon running", "answer", True),
        ("elevated potassium after marathon running", "twin", True),
        ("elevated potassium after marathon running", "elsewhere", False),
        ("elevated cardiac troponin after marathon running", "elsewhere", False),
    ],
)
def test_a_changed_word_makes_another_question_of_a_text_about_another_passage(
    anchor: str, chunk_id: str, is_leak: bool
) -> None:
    pairs = [pair_of(anchor, chunk_id=chunk_id), *_BACKGROUND]
    clusters = {"answer": "answer", "twin": "answer"}
    leaks = find_leaks(pairs, evaluation_set_of({_QUERY: ["answer"]}), chunk_clusters=clusters)
    assert {leak.pair_id for leak in leaks} == ({pairs[0].pair_id} if is_leak else set())


def test_both_sentences_of_an_adjacent_pair_are_looked_at_and_passages_are_not() -> None:
    both = [pair_of("Some other sentence.", _QUERY, source=source) for source in ("adjacent_sentence", "question")]
    leaks = find_leaks(both, evaluation_set_of([_QUERY]))
    assert {leak.pair_id for leak in leaks} == {both[0].pair_id}
    only_question = find_leaks(both[1:], evaluation_set_of([_QUERY]))
    assert only_question == ()


def test_chunks_of_held_out_documents_are_leaks_whatever_the_anchor() -> None:
    pairs = [pair_of("one", chunk_id="c1"), pair_of("two", chunk_id="c2")]
    leaks = find_leaks(pairs, evaluation_set_of([_QUERY]), held_out_chunks=frozenset({"c2"}))
    assert [(leak.detector, leak.anchor) for leak in leaks] == [("held_out_chunk", "two")]


def test_a_click_log_that_contains_test_queries_is_found_out() -> None:
    queries = [f"query about {drug} and bleeding on ward {place}" for place, drug in enumerate(_DRUGS)]
    log = [pair_of(text.upper(), source="user") for text in queries] + _BACKGROUND
    leaks = find_leaks(log, evaluation_set_of(queries))
    assert len({leak.query_id for leak in leaks}) == len(queries)
    assert len({leak.pair_id for leak in leaks if leak.detector == "exact"}) == len(queries)


def test_the_certificate_counts_found_removed_and_remaining() -> None:
    leaky = [pair_of(_QUERY), pair_of("after running marathon, troponin elevated")]
    pairs = [*leaky, *_BACKGROUND]
    queries = evaluation_set_of([_QUERY])
    leaks = find_leaks(pairs, queries)
    clean = certify(_BACKGROUND, queries, leaks)
    assert clean.passed
    assert {row.detector: (row.ran, row.found, row.removed, row.remaining) for row in clean.detectors} == {
        "exact": (True, 1, 1, 0),
        "shingle": (True, 2, 2, 0),
        "embedding": (False, 0, 0, 0),
        "held_out_chunk": (True, 0, 0, 0),
    }
    dirty = certify(pairs, queries, leaks)
    assert not dirty.passed
    assert dirty.digest != clean.digest


def test_an_edited_certificate_no_longer_matches_its_digest() -> None:
    certificate = certify(_BACKGROUND, evaluation_set_of([_QUERY]), ())
    assert certificate_digest(certificate) == certificate.digest
    assert certificate_digest(replace(certificate, pair_count=1)) != certificate.digest


def test_samples_are_capped_for_each_detector() -> None:
    pairs = [pair_of(_QUERY, f"Passage {number} with enough characters in it.") for number in range(50)]
    leaks = find_leaks(pairs, evaluation_set_of([_QUERY]))
    samples = certify((), evaluation_set_of([_QUERY]), leaks, settings=LeakageSettings(samples_per_detector=3)).samples
    assert sorted(leak.detector for leak in samples) == ["exact"] * 3 + ["shingle"] * 3


def test_what_goes_into_a_manifest_says_what_was_found_and_quotes_no_question() -> None:
    certificate = certify((), evaluation_set_of([_QUERY]), find_leaks([pair_of(_QUERY)], evaluation_set_of([_QUERY])))
    kept = certificate.without_samples()
    assert certificate.samples and _QUERY not in str(kept)
    assert (kept["digest"], kept["detectors"][0]["removed"]) == (certificate.digest, 1)


def test_nothing_to_compare_is_no_leak() -> None:
    assert find_leaks([], evaluation_set_of([_QUERY])) == ()
    assert find_leaks(_BACKGROUND, evaluation_set_of([])) == ()


_WORDS = st.lists(
    st.sampled_from(["dose", "of", "heparin", "warfarin", "troponin", "marathon"]), min_size=1, max_size=6
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_WORDS, max_size=8), st.lists(_WORDS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_copies_are_always_found_and_the_order_of_pairs_does_not_matter(
    anchors: list[list[str]], queries: list[list[str]], rng: random.Random
) -> None:
    evaluation_set = evaluation_set_of(list(dict.fromkeys(" ".join(words) for words in queries)))
    pairs = [pair_of(" ".join(words)) for words in (*anchors, *queries)]
    leaks = find_leaks(pairs, evaluation_set)

    def exact(found: tuple[Leak, ...]) -> set[str]:
        return {leak.query_id for leak in found if leak.detector == "exact"}

    assert exact(leaks) == {query.query_id for query in evaluation_set.queries}
    assert find_leaks(rng.sample(pairs, len(pairs)), evaluation_set) == leaks


def test_the_time_grows_with_the_pairs_and_not_with_pairs_times_queries() -> None:
    rng = random.Random(3)
    words = [f"word{number}" for number in range(5000)]

    def texts(count: int) -> list[str]:
        return [" ".join(["what", "is", "the", *rng.choices(words, k=6)]) for _ in range(count)]

    pairs: list[TrainingPair] = [pair_of(text) for text in texts(20_000)]
    queries = evaluation_set_of(texts(2_000))
    started = time.process_time()
    assert find_leaks(pairs, queries) == ()
    # Every pair against every query would be 40 million comparisons.
    assert time.process_time() - started < 20
