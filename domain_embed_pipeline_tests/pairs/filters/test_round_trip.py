from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain_embed_pipeline.pairs.filters.round_trip import round_trip, source_ranks
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import SynonymEncoder, chunk_of, corpus_of, pair_of

_TEXTS = ["heparin dose", "heparin dose", "heparin bleeding", "warfarin dose", "digoxin level"]
_CHUNKS = [chunk_of(text, title=f"T{place}") for place, text in enumerate(_TEXTS)]
_CORPUS = corpus_of(_CHUNKS)
_ENCODER = SynonymEncoder("t0 t1 t2 t3 t4")
_TWINS = _CHUNKS[:2]
_CLUSTERS = {chunk.chunk_id: _TWINS[0].chunk_id if chunk in _TWINS else chunk.chunk_id for chunk in _CHUNKS}


def _about(anchor: str, place: int, source: str = "question") -> TrainingPair:
    return pair_of(anchor, _CHUNKS[place].embedding_text, chunk_id=_CHUNKS[place].chunk_id, source=source)  # type: ignore[arg-type]


def test_ranks_count_chunks_of_other_clusters_that_score_higher() -> None:
    pairs = [_about("heparin dose", 1), _about("heparin dose", 2), _about("heparin dose", 4)]
    # Ahead of "digoxin level": both copies of "heparin dose", "heparin bleeding", "warfarin dose".
    assert source_ranks(pairs, _CORPUS, _CLUSTERS, _ENCODER) == [1, 3, 5]


def test_questions_beyond_the_bound_go_and_other_sources_stay() -> None:
    pairs = [_about("heparin dose", 2), _about("heparin dose", 4), _about("heparin dose", 4, "user")]
    result = round_trip(
        pairs,
        settings=FilterSettings(round_trip_max_rank=3),
        corpus=_CORPUS,
        chunk_clusters=_CLUSTERS,
        encoder=_ENCODER,
    )
    assert result.kept == (pairs[0], pairs[2])
    assert [(row.reason, row.detail) for row in result.dropped] == [("round_trip", "rank 5")]


def test_beyond_the_bound_a_judge_decides_and_without_its_verdict_the_rank() -> None:
    class KnowsSome:
        def is_answered(self, pairs: Sequence[TrainingPair]) -> Sequence[bool | None]:
            verdicts = {"heparin dose": True, "digoxin level": False}
            return [verdicts.get(pair.anchor) for pair in pairs]

    pairs = [_about("heparin dose", 4), _about("digoxin level", 3), _about("digoxin level now", 2)]
    result = round_trip(
        pairs,
        settings=FilterSettings(round_trip_max_rank=1),
        corpus=_CORPUS,
        chunk_clusters=_CLUSTERS,
        encoder=_ENCODER,
        judge=KnowsSome(),
    )
    assert result.kept == (pairs[0],)
    assert [row.reason for row in result.dropped] == ["not_answered", "round_trip"]


def test_it_is_off_by_default() -> None:
    class Refuses:
        spec = _ENCODER.spec

        def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
            raise AssertionError

        encode_passages = encode_queries

    pairs = [_about("digoxin level", 0)]
    result = round_trip(pairs, settings=FilterSettings(), corpus=_CORPUS, chunk_clusters=_CLUSTERS, encoder=Refuses())
    assert result.kept == tuple(pairs)
