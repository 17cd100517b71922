"""Exact search over a whole corpus: dense by FAISS, BM25 by a sparse matrix product.

What belongs here: vectors in, rankings out, with one rule for ties. What does not: encoding, fusion, metrics.

Scores are rounded to 1e-6 and equal scores are put in the order of chunk ids. Float32 sums differ by about 1e-7 with
the number of queries searched at once, which would otherwise decide the order of near-equal chunks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.records import Ranking

if TYPE_CHECKING:
    from domain_embed_pipeline.encoding.sparse import SparseVector

SCORE_DECIMALS = 6
_QUERIES_AT_ONCE = 256
_SURPLUS = 16
"""Candidates fetched beyond k at first, so that most ties at the cut need no second search."""
_CELLS_AT_ONCE = 20_000_000
"""Query-chunk scores held at once by the sparse search: 240 MB when every chunk shares a term with every query."""


class DenseIndex:
    """All passage vectors, searched exactly by inner product."""

    def __init__(self, passage_vectors: np.ndarray, chunk_ids: Sequence[str]) -> None:
        """Check and index vectors of shape (chunks, dimension), one distinct id each.

        Raises:
            EvaluationError: If shapes do not fit, an id is given twice or a value is not finite.
        """
        import faiss

        self._passages, self._chunk_ids = _checked(passage_vectors, "passage"), chunk_ids
        _check_corpus(chunk_ids, len(self._passages))
        self._index = faiss.IndexFlatIP(self._passages.shape[1])
        self._index.add(self._passages)  # pyright: ignore[reportCallIssue]

    def search(self, query_vectors: np.ndarray, k: int) -> list[Ranking]:
        """The `k` chunks of largest inner product for every query of shape (queries, dimension).

        Raises:
            EvaluationError: If dimensions differ, `k` is below 1 or a value is not finite.
        """
        queries = _checked(query_vectors, "query")
        _check_k(k)
        if queries.shape[1] != self._index.d:
            raise EvaluationError(
                f"Query vectors have {queries.shape[1]} dimensions, passage vectors {self._index.d}.",
                fix="Encode both with the same model.",
            )
        rankings: list[Ranking] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            rankings += _search_block(self._index, block, self._passages, self._chunk_ids, k)
        return rankings


class SparseIndex:
    """All term weights, searched by BM25 as a Qdrant collection with the IDF modifier does.

    A term that `df` of `n` chunks hold weighs ln(1 + (n - df + 0.5) / (df + 0.5)).
    """

    def __init__(self, passage_vectors: Iterable[SparseVector], chunk_ids: Sequence[str]) -> None:
        """Index the vectors of `SparseEncoder.encode_passages` for the whole corpus, one distinct id each.

        Raises:
            EvaluationError: If an id is given twice or lengths differ.
        """
        passages, self._columns = _matrix(passage_vectors, None)
        count = passages.shape[0]
        _check_corpus(chunk_ids, count)
        frequency = np.bincount(passages.indices, minlength=passages.shape[1])
        self._idf = np.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
        self._passages, self._chunk_ids = passages.T.tocsr(), chunk_ids

    def search(self, query_vectors: Sequence[SparseVector], k: int) -> list[Ranking]:
        """Rankings of at most `k`; chunks that share no term with the query are left out.

        Raises:
            EvaluationError: If `k` is below 1.
        """
        _check_k(k)
        queries, _ = _matrix(query_vectors, self._columns)
        queries.data = queries.data * self._idf[queries.indices]
        rankings: list[Ranking] = []
        step = max(1, _CELLS_AT_ONCE // len(self._chunk_ids))
        for start in range(0, queries.shape[0], step):
            scores = (queries[start : start + step] @ self._passages).tocsr()
            for row in range(scores.shape[0]):
                cells = slice(scores.indptr[row], scores.indptr[row + 1])
                rankings.append(_ranked(scores.data[cells], scores.indices[cells], self._chunk_ids, k))
        return rankings


def search(query_vectors: np.ndarray, passage_vectors: np.ndarray, chunk_ids: Sequence[str], k: int) -> list[Ranking]:
    """The `k` chunks of largest inner product for every query, over all chunks.

    Args:
        query_vectors: float32, shape (queries, dimension).
        passage_vectors: float32, shape (chunks, dimension).
        chunk_ids: One distinct id per passage vector.
        k: Length of a ranking; the whole corpus when that is smaller.

    Raises:
        EvaluationError: If shapes do not fit, an id is given twice, `k` is below 1 or a value is not finite.
    """
    return DenseIndex(passage_vectors, chunk_ids).search(query_vectors, k)


def search_sparse(
    query_vectors: Sequence[SparseVector], passage_vectors: Sequence[SparseVector], chunk_ids: Sequence[str], k: int
) -> list[Ranking]:
    """BM25 rankings of at most `k` for every query, over all chunks; see `SparseIndex`.

    Raises:
        EvaluationError: If an id is given twice, lengths differ or `k` is below 1.
    """
    return SparseIndex(passage_vectors, chunk_ids).search(query_vectors, k)


def _search_block(
    index: Any, queries: np.ndarray, passages: np.ndarray, chunk_ids: Sequence[str], k: int
) -> list[Ranking]:
    """Fetch more than `k`, until what lies beyond is clearly worse than the last chunk kept."""
    fetched = min(index.ntotal, k + _SURPLUS)
    pending, found = np.arange(len(queries)), [Ranking((), ())] * len(queries)
    while True:
        scores, rows = index.search(queries[pending], fetched)
        kth = scores[:, min(k, index.ntotal) - 1]
        complete = (kth - scores[:, -1] > 10**-SCORE_DECIMALS * 2) | (fetched == index.ntotal)
        for place in np.flatnonzero(complete):
            query = queries[pending[place]].astype(np.float64)
            # Summed again in float64: FAISS adds up in another order for another number of queries.
            exact = passages[rows[place]].astype(np.float64) @ query
            found[pending[place]] = _ranked(exact, rows[place], chunk_ids, k)
        pending = pending[~complete]
        if not len(pending):
            return found
        fetched = min(index.ntotal, fetched * 4)


def _ranked(scores: np.ndarray, rows: np.ndarray, chunk_ids: Sequence[str], k: int) -> Ranking:
    rounded = np.round(scores, SCORE_DECIMALS)
    if len(rounded) > k:
        kept = rounded >= np.partition(rounded, -k)[-k]
        rounded, rows = rounded[kept], rows[kept]
    names = [chunk_ids[int(row)] for row in rows]
    pairs = sorted(zip(rounded.tolist(), names, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return Ranking(tuple(chunk_id for _, chunk_id in pairs[:k]), tuple(score for score, _ in pairs[:k]))


def _matrix(vectors: Iterable[SparseVector], columns: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """Rows of term weights; columns are the sorted term indices of the corpus, other terms are dropped."""
    from scipy.sparse import csr_array

    # Numbers of eight bytes; a tuple of Python's takes several times as much.
    found, values, lengths = array("q"), array("d"), array("q")
    for vector in vectors:
        found.extend(vector.indices)
        values.extend(vector.values)
        lengths.append(len(vector.indices))
    terms, weights = np.array(found, dtype=np.int64), np.array(values, dtype=np.float64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    if columns is None:
        columns = np.unique(terms)
    place = np.minimum(np.searchsorted(columns, terms), max(len(columns) - 1, 0))
    known = columns[place] == terms if len(columns) else np.zeros(len(terms), dtype=bool)
    shape = (len(lengths), len(columns))
    return csr_array((weights[known], (rows[known], place[known])), shape=shape), columns


def _checked(vectors: np.ndarray, side: str) -> np.ndarray:
    if vectors.ndim != 2:
        raise EvaluationError(
            f"The {side} vectors have shape {vectors.shape}.", fix="Pass an array of shape (texts, dimension)."
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise EvaluationError(
            f"{(~finite).sum()} of {len(vectors)} {side} vectors hold NaN or infinity, first in row "
            f"{int(np.argmin(finite))}.",
            fix="Train again with a smaller learning rate, or encode in float32.",
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _check_k(k: int) -> None:
    if k < 1:
        raise EvaluationError(f"k is {k}; a ranking has no place below 1.", fix="Ask for k of 1 or more.")


def _check_corpus(chunk_ids: Sequence[str], passage_count: int) -> None:
    if not passage_count:
        raise EvaluationError("There is no passage to search.", fix="Materialize a corpus with at least one chunk.")
    if len(chunk_ids) != passage_count:
        raise EvaluationError(
            f"{len(chunk_ids)} chunk ids stand against {passage_count} passage vectors.",
            fix="Encode the passages of exactly these chunks.",
        )
    if len(set(chunk_ids)) != len(chunk_ids):
        seen: set[str] = set()
        twice = next(chunk_id for chunk_id in chunk_ids if chunk_id in seen or seen.add(chunk_id))
        raise EvaluationError(f"Chunk id {twice!r} is given twice.", fix="Give every chunk one id and one vector.")
