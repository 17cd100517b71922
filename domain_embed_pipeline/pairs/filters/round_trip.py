"""Does the base model find the chunk that a question was written from?

A question that ranks its chunk very low is either hard, which is what training is for, or about something else. So the
bound is generous, and beyond it a judge may still keep the pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from domain_embed_pipeline.encoding.expansion import encode_chunks
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.pairs.filters.base import rejection
from domain_embed_pipeline.pairs.filters.judged import NOT_ANSWERED, PairJudge
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import Corpus, TrainingPair

_QUESTIONS_AT_ONCE = 256


def round_trip(
    pairs: Sequence[TrainingPair],
    *,
    settings: FilterSettings,
    corpus: Corpus,
    chunk_clusters: Mapping[str, str],
    encoder: Encoder,
    judge: PairJudge | None = None,
) -> FilterResult:
    """Drop questions whose chunk ranks beyond `round_trip_max_rank` over the whole corpus (`round_trip`).

    With a judge, its word counts for those questions: answered ones stay, others go (`not_answered`), and where it has
    no verdict the rank decides.
    Near duplicates of the chunk do not count as ahead of it. Only questions are judged: the user's own queries are
    facts, and titles and sentences are not asked of anybody.
    """
    asked = [index for index, pair in enumerate(pairs) if pair.source == "question"]
    if settings.round_trip_max_rank is None or not asked:
        return FilterResult(tuple(pairs), ())
    ranks = source_ranks([pairs[index] for index in asked], corpus, chunk_clusters, encoder)
    beyond = [(index, rank) for index, rank in zip(asked, ranks, strict=True) if rank > settings.round_trip_max_rank]
    verdicts = judge.is_answered([pairs[index] for index, _ in beyond]) if judge and beyond else [None] * len(beyond)
    lost = {
        index: rejection(pairs[index], "round_trip" if verdict is None else NOT_ANSWERED, f"rank {rank}")
        for (index, rank), verdict in zip(beyond, verdicts, strict=True)
        if not verdict
    }
    kept = tuple(pair for index, pair in enumerate(pairs) if index not in lost)
    return FilterResult(kept, tuple(lost[index] for index in sorted(lost)))


def source_ranks(
    pairs: Sequence[TrainingPair], corpus: Corpus, chunk_clusters: Mapping[str, str], encoder: Encoder
) -> list[int]:
    """Rank (from 1) of each pair's chunk for its anchor among all clusters' chunks, by the encoder's inner product."""
    row_of = {chunk.chunk_id: row for row, chunk in enumerate(corpus.chunks)}
    names = sorted({chunk_clusters[chunk.chunk_id] for chunk in corpus.chunks})
    number = {name: position for position, name in enumerate(names)}
    cluster_of_row = np.array([number[chunk_clusters[chunk.chunk_id]] for chunk in corpus.chunks])
    passages = encode_chunks(encoder, corpus.chunks)
    anchors = encoder.encode_queries([pair.anchor for pair in pairs])
    ranks: list[int] = []
    for start in range(0, len(pairs), _QUESTIONS_AT_ONCE):
        block = pairs[start : start + _QUESTIONS_AT_ONCE]
        scores = anchors[start : start + _QUESTIONS_AT_ONCE] @ passages.T
        rows = np.array([row_of[pair.chunk_id] for pair in block])
        own = scores[np.arange(len(block)), rows]
        ahead = (scores > own[:, None]) & (cluster_of_row[None, :] != cluster_of_row[rows][:, None])
        ranks += (ahead.sum(axis=1) + 1).tolist()
    return ranks
