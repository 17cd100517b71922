from __future__ import annotations

import random
import time

import pytest

from domain_embed_pipeline.pairs.clusters import ClusterSettings, cluster_corpus, cluster_near_duplicates
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, documents_of, passage


def _with_changed_word(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "changed"
    return " ".join(words)


def test_exact_copies_are_one_cluster_whatever_their_case_and_spacing() -> None:
    text = passage(1)
    assert cluster_near_duplicates({"b": text, "a": text.upper() + "  "}) == {"a": "a", "b": "a"}


def test_a_passage_with_one_changed_word_is_a_near_duplicate() -> None:
    text = passage(1)
    clusters = cluster_near_duplicates({"x": text, "y": _with_changed_word(text), "z": passage(2)})
    assert clusters == {"x": "x", "y": "x", "z": "z"}


def test_short_facts_in_one_pattern_are_different_texts() -> None:
    fact = "{} is a trojan used by Elderwood to open a backdoor."
    texts = {"a": fact.format("Naid"), "b": fact.format("Wiarp")}
    assert cluster_near_duplicates(texts) == {"a": "a", "b": "b"}


def test_texts_without_words_are_duplicates_of_nothing() -> None:
    assert cluster_near_duplicates({"a": "---", "b": "***", "c": ""}) == {"a": "a", "b": "b", "c": "c"}


def test_an_empty_corpus_has_no_clusters() -> None:
    assert cluster_near_duplicates({}) == {}


def test_the_order_of_texts_changes_nothing() -> None:
    texts = {f"t{number}": passage(number // 3) for number in range(60)}
    texts |= {f"t{number}": _with_changed_word(passage(number // 3)) for number in range(0, 60, 3)}
    shuffled = list(texts.items())
    random.Random(5).shuffle(shuffled)
    assert cluster_near_duplicates(dict(shuffled)) == cluster_near_duplicates(texts)


def test_every_planted_near_duplicate_among_many_is_found() -> None:
    texts = {f"o{number:04}": passage(number) for number in range(400)}
    texts |= {f"p{number:04}": _with_changed_word(passage(number)) for number in range(400)}
    clusters = cluster_near_duplicates(texts)
    missed = [number for number in range(400) if clusters[f"p{number:04}"] != f"o{number:04}"]
    assert not missed
    assert len(set(clusters.values())) == 400


def test_a_template_filled_thousands_of_times_costs_no_quadratic_time() -> None:
    template = passage(7, sentences=12)
    texts = {f"t{number:05}": f"{template} Form {number}." for number in range(4000)}
    started = time.process_time()
    clusters = cluster_near_duplicates(texts)
    assert set(clusters.values()) == {"t00000"}
    # All 8 million comparisons would take minutes.
    assert time.process_time() - started < 30


def test_documents_that_share_a_near_duplicate_chunk_belong_together() -> None:
    chunks = [*documents_of(3), chunk_of(_with_changed_word(passage(10)), "copy.md")]
    corpus = corpus_of(chunks)
    _, clusters = cluster_corpus(corpus)
    assert clusters == {"copy.md": "copy.md", "d000.md": "d000.md", "d001.md": "copy.md", "d002.md": "d002.md"}


def test_a_paragraph_quoted_at_other_chunk_boundaries_joins_its_documents() -> None:
    quoted = passage(50, sentences=8)
    chunks = [
        *documents_of(2),
        chunk_of(f"{passage(51, 12)} {quoted} {passage(52, 12)}", "long.md"),
        chunk_of(f"{quoted} {passage(53, 20)}", "other.md"),
    ]
    corpus = corpus_of(chunks)
    chunk_clusters, clusters = cluster_corpus(corpus)
    assert len(set(chunk_clusters.values())) == len(corpus.chunks)
    assert clusters["long.md"] == clusters["other.md"] != clusters["d000.md"]
    _, apart = cluster_corpus(corpus, settings=ClusterSettings(run_words=0))
    assert apart["long.md"] != apart["other.md"]


def test_boilerplate_in_very_many_documents_does_not_join_them() -> None:
    notice = passage(99)
    chunks = [*documents_of(30), *(chunk_of(notice, f"d{number:03}.md", position=9) for number in range(30))]
    corpus = corpus_of(chunks)
    _, clusters = cluster_corpus(corpus)
    assert len(set(clusters.values())) == 30
    _, joined = cluster_corpus(corpus, settings=ClusterSettings(max_documents_per_passage=30))
    assert len(set(joined.values())) == 1


def test_a_giant_cluster_of_documents_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    notice = passage(99)
    corpus = corpus_of([*documents_of(20), *(chunk_of(notice, f"d{number:03}.md") for number in range(15))])
    cluster_corpus(corpus)
    assert "15 of 20 documents are one near-duplicate cluster" in caplog.text
