from __future__ import annotations

import pytest

from domain_embed_pipeline.pairs.references import ChunkReferences
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of

_DOSE = chunk_of("Bolus 80 units per kg.", "drugs/heparin.md", title="Heparin > Dose", external_ids=["H_0"])
_RISK = chunk_of("Watch the platelets.", "drugs/heparin.md", title="Heparin > HIT #1", position=1)
_NOTE = chunk_of("A note.", "odd#name.md", title="Dose")
_REFERENCES = ChunkReferences(corpus_of([_RISK, _DOSE, _NOTE]))


@pytest.mark.parametrize(
    ("reference", "chunks"),
    [
        ("H_0", [_DOSE]),
        (_RISK.chunk_id, [_RISK]),
        ("drugs/heparin.md", [_DOSE, _RISK]),
        ("drugs/heparin.md#Dose", [_DOSE]),
        (" drugs/heparin.md#HIT  #1 ", [_RISK]),
        ("odd#name.md", [_NOTE]),
        ("odd#name.md#Dose", [_NOTE]),
        ("drugs/heparin.md#Heparin > Dose", [_DOSE]),
        ("drugs/heparin.md#ose", []),
        ("drugs/heparin.md#", []),
        ("heparin", []),
        ("", []),
    ],
)
def test_a_reference_names_the_chunks_it_says(reference: str, chunks: list) -> None:
    assert list(_REFERENCES.resolve(reference)) == chunks


def test_an_external_id_may_name_several_chunks() -> None:
    twins = [chunk_of("One.", external_ids=["X"]), chunk_of("Two.", external_ids=["X"], position=1)]
    assert ChunkReferences(corpus_of(twins)).resolve("X") == tuple(twins)
