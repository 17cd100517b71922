"""One model on one split: encode, search the whole corpus, choose or obey a retrieval mode, measure every query.

What belongs here: from an encoder (or finished rankings) to per-query results. What does not: the parts it calls
(`retrieval`, `modes`, `fusion`, `metrics`), and judging one evaluation against another (`comparison`).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from domain_embed_pipeline.encoding.expansion import encode_chunks, is_expanded, without_questions
from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseSpec, fit_sparse_spec
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.fusion import check_mode, served_ranking
from domain_embed_pipeline.evaluation.metrics import query_result
from domain_embed_pipeline.evaluation.modes import ModeSettings, score_modes, unchosen_mode
from domain_embed_pipeline.evaluation.records import (
    RECALL_KS,
    Evaluation,
    ModeScore,
    QueryResult,
    Ranking,
    RetrievalMode,
)
from domain_embed_pipeline.evaluation.retrieval import DenseIndex, SparseIndex
from domain_embed_pipeline.evaluation.words import mode_name
from domain_embed_pipeline.records import Chunk, Corpus, DocumentSplits, EvaluationQuery, EvaluationSet, Split
from domain_embed_pipeline.sequences import batches

logger = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 1_000
"""Chunks whose term weights are in memory before the index has them."""


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What an evaluation needs beside model and data."""

    language: str = "english"
    """Of the BM25 stemmer and stop words; `none` for neither."""
    mode: RetrievalMode | None = None
    """How the index would be asked; None chooses on the dev queries, and without any it is `unchosen_mode`."""
    modes: ModeSettings = field(default_factory=ModeSettings)
    """How a mode is chosen."""


def evaluate_model(
    encoder: Encoder,
    *,
    corpus: Corpus,
    evaluation_set: EvaluationSet,
    split: Split,
    clusters: Mapping[str, str],
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Results of a model on a split, dense only and in the mode that would be served.

    Args:
        encoder: Whatever caches vectors does so inside it.
        corpus: All chunks; search always runs over the whole of it. Where they have questions, modes over expanded
            chunks are tried too (`encoding.expansion`).
        evaluation_set: Queries with relevance, of the same corpus version.
        split: Side that is measured.
        clusters: Chunk id to cluster of documents (`clusters_of_chunks`).
        settings: Language of BM25, and the mode or how it is chosen.

    Raises:
        EvaluationError: If the split has no query, a relevant chunk is not in the corpus, or versions differ.
    """
    settings, started = settings or EvaluationSettings(), time.perf_counter()
    queries, relevant = _checked_queries(corpus, evaluation_set, split)
    mode = settings.mode
    depth = max(mode.prefetch if mode else settings.modes.prefetch, *RECALL_KS)
    plain = _Search(encoder, without_questions(corpus.chunks), settings.language, depth)
    expanded = _Search(encoder, corpus.chunks, settings.language, depth) if is_expanded(corpus.chunks) else plain
    scores: tuple[ModeScore, ...] = ()
    if mode is None:
        mode, scores = _mode_on_dev(plain, expanded, evaluation_set, settings.modes)
    check_mode(mode)
    dense, asked = plain.dense(queries), expanded if mode.expanded else plain
    served = asked.served(mode, queries) if mode.kind != "dense" or mode.expanded else dense
    return Evaluation(
        model_version=encoder.spec.model_version,
        encoder=encoder.spec,
        corpus_version=corpus.corpus_version,
        evaluation_set_version=evaluation_set.evaluation_set_version,
        split=split,
        mode=mode,
        query_results=measure_rankings(dense, queries=queries, relevant=relevant, clusters=clusters),
        served_query_results=measure_rankings(served, queries=queries, relevant=relevant, clusters=clusters),
        duration_s=time.perf_counter() - started,
        sparse=asked.sparse_spec,
        mode_scores=scores,
    )


def served_rankings(
    encoder: Encoder,
    *,
    corpus: Corpus,
    queries: Sequence[EvaluationQuery],
    mode: RetrievalMode,
    settings: EvaluationSettings | None = None,
) -> list[Ranking]:
    """What each query gets in a mode, as deep as the mode's prefetch, for whoever works on with it.

    Raises:
        EvaluationError: If the mode is not one that Qdrant can serve.
    """
    check_mode(mode)
    chunks = corpus.chunks if mode.expanded else without_questions(corpus.chunks)
    depth = max(mode.prefetch, *RECALL_KS)
    return _Search(encoder, chunks, (settings or EvaluationSettings()).language, depth).served(mode, queries)


def evaluate_bm25(
    *,
    corpus: Corpus,
    evaluation_set: EvaluationSet,
    split: Split,
    clusters: Mapping[str, str],
    settings: EvaluationSettings | None = None,
) -> tuple[QueryResult, ...]:
    """Results of BM25 alone, which needs no model; arguments and errors of `evaluate_model`."""
    queries, relevant = _checked_queries(corpus, evaluation_set, split)
    search_terms = _SparseSearch(
        without_questions(corpus.chunks), (settings or EvaluationSettings()).language, max(RECALL_KS)
    )
    return measure_rankings(search_terms(queries), queries=queries, relevant=relevant, clusters=clusters)


def measure_rankings(
    rankings: Sequence[Ranking],
    *,
    queries: Sequence[EvaluationQuery],
    relevant: Mapping[str, Set[str]],
    clusters: Mapping[str, str],
) -> tuple[QueryResult, ...]:
    """Every measure of every query, whatever made the rankings.

    Args:
        rankings: One per query, in their order.
        queries: What was asked.
        relevant: Query id to relevant chunk ids.
        clusters: Chunk id to cluster of documents; a chunk that it lacks is a cluster of its own.

    Raises:
        EvaluationError: If a query has no relevant chunk or its ranking names a chunk twice.
    """
    return tuple(
        query_result(
            query.query_id,
            query.text,
            relevant=relevant[query.query_id],
            retrieved=ranking.chunk_ids,
            cluster_id=_cluster_of(relevant[query.query_id], clusters),
        )
        for query, ranking in zip(queries, rankings, strict=True)
    )


def clusters_of_chunks(corpus: Corpus, splits: DocumentSplits) -> dict[str, str]:
    """Chunk id to the near-duplicate cluster of its first document."""
    cluster_of = {document.document_id: document.cluster_id for document in splits.documents}
    return {chunk.chunk_id: cluster_of.get(chunk.document_id, chunk.document_id) for chunk in corpus.chunks}


class _Search:
    """Rankings over one form of the chunks, by vectors and by BM25; each is made ready when the first query comes."""

    def __init__(self, encoder: Encoder, chunks: Sequence[Chunk], language: str, depth: int) -> None:
        self.dense = _DenseSearch(encoder, chunks, depth)
        self.sparse = _SparseSearch(chunks, language, depth)

    @property
    def sparse_spec(self) -> SparseSpec | None:
        """How BM25 saw the texts; None when it was not asked."""
        return self.sparse.spec

    def served(self, mode: RetrievalMode, queries: Sequence[EvaluationQuery]) -> list[Ranking]:
        """What each query gets in this mode."""
        if mode.kind == "dense":
            return self.dense(queries)
        pairs = zip(self.dense(queries), self.sparse(queries), strict=True)
        return [served_ranking(mode, *pair) for pair in pairs]


class _DenseSearch:
    """Rankings by vectors; passages are encoded when the first query comes."""

    def __init__(self, encoder: Encoder, chunks: Sequence[Chunk], depth: int) -> None:
        self._encoder, self._chunks, self._depth = encoder, chunks, depth
        self._index: DenseIndex | None = None

    def __call__(self, queries: Sequence[EvaluationQuery]) -> list[Ranking]:
        if self._index is None:
            vectors = encode_chunks(self._encoder, self._chunks)
            self._index = DenseIndex(vectors, [chunk.chunk_id for chunk in self._chunks])
        return self._index.search(self._encoder.encode_queries([query.text for query in queries]), self._depth)


class _SparseSearch:
    """Rankings by BM25; the chunks are read when the first query comes."""

    def __init__(self, chunks: Sequence[Chunk], language: str, depth: int) -> None:
        self._chunks, self._language, self._depth = chunks, language, depth
        self._index: SparseIndex | None = None
        self.spec: SparseSpec | None = None

    def __call__(self, queries: Sequence[EvaluationQuery]) -> list[Ranking]:
        if self._index is None or self.spec is None:
            self.spec = fit_sparse_spec((chunk.expanded_text for chunk in self._chunks), language=self._language)
            encode = SparseEncoder(self.spec).encode_passages
            texts = ([chunk.expanded_text for chunk in part] for part in batches(self._chunks, _CHUNKS_AT_ONCE))
            vectors = itertools.chain.from_iterable(map(encode, texts))
            self._index = SparseIndex(vectors, [chunk.chunk_id for chunk in self._chunks])
        terms = SparseEncoder(self.spec).encode_queries([query.text for query in queries])
        return self._index.search(terms, self._depth)


def _mode_on_dev(
    plain: _Search, expanded: _Search, evaluation_set: EvaluationSet, settings: ModeSettings
) -> tuple[RetrievalMode, tuple[ModeScore, ...]]:
    queries = evaluation_set.queries_of("dev")
    if not queries:
        mode = unchosen_mode(settings)
        logger.warning("There are no dev queries, so no retrieval mode can be chosen; %s is taken.", mode_name(mode))
        return mode, ()
    relevant = evaluation_set.relevant_chunks()
    scores = score_modes(
        plain.dense(queries),
        plain.sparse(queries),
        [relevant[query.query_id] for query in queries],
        expanded=None if expanded is plain else (expanded.dense(queries), expanded.sparse(queries)),
        settings=settings,
    )
    mode = next(mode for mode, score in scores if score.chosen)
    return mode, tuple(score for _, score in scores)


def _checked_queries(
    corpus: Corpus, evaluation_set: EvaluationSet, split: Split
) -> tuple[tuple[EvaluationQuery, ...], dict[str, frozenset[str]]]:
    if corpus.corpus_version != evaluation_set.corpus_version:
        raise EvaluationError(
            f"The evaluation set {evaluation_set.evaluation_set_version} was made for the corpus "
            f"{evaluation_set.corpus_version}, not for {corpus.corpus_version}.",
            fix="Materialize evaluation_set again.",
        )
    queries = evaluation_set.queries_of(split)
    if not queries:
        raise EvaluationError(
            f"The evaluation set {evaluation_set.evaluation_set_version} has no {split} query.",
            fix="Give queries of your own, or a corpus large enough for some to be held out.",
        )
    relevant, known = evaluation_set.relevant_chunks(), {chunk.chunk_id for chunk in corpus.chunks}
    for query in queries:
        if missing := relevant[query.query_id] - known:
            raise EvaluationError(
                f"Query {query.query_id!r} is answered by chunks that the corpus lacks: {sorted(missing)[:3]}.",
                fix="Materialize evaluation_set again for this corpus.",
            )
    return queries, relevant


def _cluster_of(relevant: Set[str], clusters: Mapping[str, str]) -> str:
    """The cluster that most of the relevant chunks are in, the smallest id of several.

    Joining queries that share any cluster would chain nearly all of them together where a query has eight answers.
    """
    counts = Counter(clusters.get(chunk_id, chunk_id) for chunk_id in relevant)
    return min(counts, key=lambda cluster_id: (-counts[cluster_id], cluster_id)) if counts else ""
