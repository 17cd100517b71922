"""Judging a model in training by retrieval on dev queries, never by its loss."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.expansion import encode_chunks
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.evaluation.metrics import ndcg_at_k, recall_at_k
from domain_embed_pipeline.evaluation.retrieval import search
from domain_embed_pipeline.records import Corpus, EvaluationSet

if TYPE_CHECKING:
    import numpy as np

NEAREST_PER_QUERY = 50


@dataclass(frozen=True, slots=True)
class DevSet:
    """Dev queries and the chunks they are searched among."""

    queries: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]
    chunk_ids: tuple[str, ...]
    passages: tuple[str, ...]
    is_whole_corpus: bool


@dataclass(frozen=True, slots=True)
class DevScore:
    """Per-query metrics on dev."""

    recall_at_5: tuple[float, ...]
    ndcg_at_10: tuple[float, ...]

    @property
    def selection(self) -> tuple[float, ...]:
        """What checkpoints and candidates are chosen by: the mean of Recall@5 and nDCG@10, query by query.

        Recall@5 alone moves in steps of one query on small dev sets; nDCG@10 sees changes of rank too.
        """
        return tuple((recall + gain) / 2 for recall, gain in zip(self.recall_at_5, self.ndcg_at_10, strict=True))

    def gain_over(self, start: DevScore) -> tuple[float, float]:
        """Mean difference of selection from another score on the same queries, and its standard error."""
        differences = [mine - theirs for mine, theirs in zip(self.selection, start.selection, strict=True)]
        return sum(differences) / len(differences), standard_error(differences)

    def means(self) -> dict[str, float]:
        """Means over queries, by metric name."""
        count = len(self.recall_at_5)
        return {
            "recall_at_5": sum(self.recall_at_5) / count,
            "ndcg_at_10": sum(self.ndcg_at_10) / count,
            "selection": sum(self.selection) / count,
        }


@dataclass(frozen=True, slots=True)
class DevGoal:
    """What a stage is judged by: a dev set, and how the model it starts from does on it."""

    dev: DevSet
    start: DevScore


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def make_dev_set(corpus: Corpus, evaluation_set: EvaluationSet, *, encoder: Encoder, pool_size: int) -> DevSet | None:
    """Dev queries over the whole corpus, or over a pool of its hardest chunks when it is larger than `pool_size`.

    Returns None when there is no dev query.
    """
    queries = evaluation_set.queries_of("dev")
    if not queries:
        return None
    relevant = evaluation_set.relevant_chunks()
    chunks = corpus.chunks
    texts = [query.text for query in queries]
    if len(chunks) > pool_size:
        wanted = {chunk_id for query in queries for chunk_id in relevant[query.query_id]}
        pool = _pool_ids(chunks=corpus, queries=texts, encoder=encoder, wanted=wanted, pool_size=pool_size)
        chunks = [chunk for chunk in chunks if chunk.chunk_id in pool]
    return DevSet(
        queries=tuple(texts),
        relevant=tuple(relevant[query.query_id] for query in queries),
        chunk_ids=tuple(chunk.chunk_id for chunk in chunks),
        passages=tuple(chunk.embedding_text for chunk in chunks),
        is_whole_corpus=len(chunks) == len(corpus.chunks),
    )


def _pool_ids(
    *, chunks: Corpus, queries: Sequence[str], encoder: Encoder, wanted: Iterable[str], pool_size: int
) -> set[str]:
    chunk_ids = [chunk.chunk_id for chunk in chunks.chunks]
    passages = encode_chunks(encoder, chunks.chunks)
    rankings = search(encoder.encode_queries(queries), passages, chunk_ids, NEAREST_PER_QUERY)
    pool = set(wanted)
    for rank in range(NEAREST_PER_QUERY):
        for ranking in rankings:
            if len(pool) >= pool_size:
                return pool
            if rank < len(ranking.chunk_ids):
                pool.add(ranking.chunk_ids[rank])
    rest = sorted(set(chunk_ids) - pool)
    pool.update(random.Random(0).sample(rest, min(len(rest), pool_size - len(pool))))
    return pool


def score_on_dev(encoder: Encoder, dev: DevSet) -> DevScore:
    """Encode the dev set with `encoder` and score each query."""
    passages = encoder.encode_passages(dev.passages)
    return score_vectors(encoder.encode_queries(dev.queries), passages, dev)


def score_vectors(queries: np.ndarray, passages: np.ndarray, dev: DevSet) -> DevScore:
    """Score dev queries from vectors, shapes (queries, dimension) and (passages, dimension)."""
    rankings = search(queries, passages, list(dev.chunk_ids), 10)
    recalls, gains = [], []
    for ranking, relevant in zip(rankings, dev.relevant, strict=True):
        recalls.append(recall_at_k(relevant, list(ranking.chunk_ids), 5))
        gains.append(ndcg_at_k(relevant, list(ranking.chunk_ids), 10))
    return DevScore(recall_at_5=tuple(recalls), ndcg_at_10=tuple(gains))
