"""A second, slower look at the first results of a ranking.

What belongs here: reordering by any scorer of (query, passage) pairs. What does not: loading a cross-encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from domain_embed_pipeline.evaluation.records import Ranking


def rerank(
    rankings: Sequence[Ranking],
    queries: Sequence[str],
    *,
    texts: Mapping[str, str],
    score: Callable[[list[tuple[str, str]]], Sequence[float]],
    depth: int = 50,
) -> list[Ranking]:
    """The first `depth` chunks of each ranking in the order of their new scores; the rest is dropped.

    Args:
        rankings: One per query.
        queries: Their texts.
        texts: Chunk id to passage.
        score: Relevance of (query, passage) pairs, such as `CrossEncoder.predict`.
        depth: Chunks per query that are scored.
    """
    reordered = []
    for ranking, query in zip(rankings, queries, strict=True):
        chunk_ids = ranking.chunk_ids[:depth]
        scores = [float(value) for value in score([(query, texts[chunk_id]) for chunk_id in chunk_ids])]
        pairs = sorted(zip(scores, chunk_ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
        reordered.append(Ranking(tuple(chunk_id for _, chunk_id in pairs), tuple(value for value, _ in pairs)))
    return reordered
