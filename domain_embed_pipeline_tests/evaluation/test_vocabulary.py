from __future__ import annotations

from domain_embed_pipeline.evaluation.vocabulary import NearestTerms, nearest_terms, specific_terms
from domain_embed_pipeline_tests.evaluation.helpers import TableEncoder, chunk_of, corpus_of


def test_terms_are_those_that_few_chunks_use_often_in_the_form_they_mostly_have() -> None:
    chunks = [chunk_of(f"c-{place}", "the ward and the patient") for place in range(20)]
    chunks += [chunk_of(f"d-{place}", f"NSTEMI after nstemi NSTEMI {place} the") for place in range(3)]
    chunks += [chunk_of("e-1", "hapax hapax hapax hapax the")]
    terms = specific_terms(corpus_of(chunks), 2)
    assert terms[0] == "NSTEMI"
    assert "hapax" not in specific_terms(corpus_of(chunks), 100)
    assert "1" not in specific_terms(corpus_of(chunks), 100)


def test_neighbours_by_hand_and_those_that_changed_are_shown() -> None:
    terms = ["AF", "as", "atrial", "heart", "cardiac"]
    before = TableEncoder({"AF": [1, 0], "as": [0.9, 0.1], "atrial": [0, 1], "heart": [-1, 0], "cardiac": [-1, 0.1]})
    after = TableEncoder({"AF": [0, 1], "as": [1, 0], "atrial": [0, 1], "heart": [-1, 0], "cardiac": [-1, 0.1]})
    assert nearest_terms(before, after, terms, shown=1, neighbours=1) == (NearestTerms("AF", ("as",), ("atrial",)),)


def test_there_are_never_more_neighbours_than_other_terms() -> None:
    encoder = TableEncoder({"a": [1, 0], "b": [0, 1]})
    assert nearest_terms(encoder, encoder, ["a", "b"])[0] == NearestTerms("a", ("b",), ("b",))
