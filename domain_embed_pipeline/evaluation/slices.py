"""Where a model gains and where it loses: the queries divided by what they are and by what answers them.

What belongs here: the divisions, and the primary metric on each part. What does not: the statistics (`statistics`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseSpec
from domain_embed_pipeline.evaluation.records import QueryResult, SliceResult, Verdict
from domain_embed_pipeline.evaluation.statistics import SIGNIFICANCE, ResamplingSettings, holm, paired_differences
from domain_embed_pipeline.records import Chunk, Corpus, EvaluationQuery, EvaluationSet, Split

_MOST_FOLDERS = 12
_READ_CHARACTERS = 500
_FEWEST_QUERIES = 10
"""A smaller slice is shown but never called worse: one cluster of documents could decide it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the queries."""

    group: str
    name: str
    query_ids: frozenset[str]


def make_slices(
    corpus: Corpus, evaluation_set: EvaluationSet, split: Split, *, language: str = "english"
) -> tuple[Slice, ...]:
    """Every query of the split falls into one slice of each group; groups with a single slice are left out.

    Groups: `folder` (of the first document that answers), `chunk length` and `query length` in words, `style`,
    `overlap` (share of the query's stemmed terms that its best answer holds), `rare terms` (whether the query has
    a term that at most one chunk in a thousand holds) and `language` (of the answers, which are long enough to tell).

    Args:
        corpus: Where the answers are.
        evaluation_set: Queries with relevance.
        split: Side that is measured.
        language: Of the stemmer that decides which words are the same.
    """
    queries = evaluation_set.queries_of(split)
    features = _Features(corpus, evaluation_set.relevant_chunks(), SparseEncoder(SparseSpec(language=language)))
    groups: dict[str, Callable[[EvaluationQuery], str]] = {
        "folder": features.folder,
        "chunk length": features.chunk_length,
        "query length": features.query_length,
        "style": lambda query: query.style or "unknown",
        "overlap": features.overlap,
        "rare terms": features.rare_terms,
        "language": features.language,
    }
    slices: list[Slice] = []
    for group, name_of in groups.items():
        names = {query.query_id: name_of(query) for query in queries}
        # A handful of answers in "another" language are mistakes of the detector.
        fewest = _FEWEST_QUERIES if group == "language" else 1
        kept = {name for name, count in Counter(names.values()).most_common(_MOST_FOLDERS) if count >= fewest}
        if len(kept) < 2:
            continue
        names = {query_id: name if name in kept else "other" for query_id, name in names.items()}
        slices += [
            Slice(group, name, frozenset(query_id for query_id, other in names.items() if other == name))
            for name in sorted(set(names.values()))
        ]
    return tuple(slices)


def compare_slices(
    candidate: Sequence[QueryResult],
    reference: Sequence[QueryResult],
    slices: Sequence[Slice],
    *,
    metric: str,
    settings: ResamplingSettings | None = None,
) -> tuple[SliceResult, ...]:
    """The metric on each slice, with p-values adjusted for the number of slices (Holm).

    Args:
        candidate: One row per query.
        reference: The same queries in the same order.
        slices: Parts of the queries; those without a query are left out.
        metric: Field name of `QueryResult`.
        settings: Resamples, seed and confidence.
    """
    found = []
    for part in slices:
        ours = [row for row in candidate if row.query_id in part.query_ids]
        theirs = [row for row in reference if row.query_id in part.query_ids]
        if ours:
            found.append((part, len(ours), paired_differences(ours, theirs, [metric], settings=settings)[0]))
    results = []
    adjusted = holm([difference.p_value for _, _, difference in found])
    for (part, count, difference), p_value in zip(found, adjusted, strict=True):
        results.append(
            SliceResult(
                group=part.group,
                name=part.name,
                query_count=count,
                reference=difference.reference,
                candidate=difference.candidate,
                difference=difference.difference,
                interval_low=difference.interval_low,
                interval_high=difference.interval_high,
                p_value=p_value,
                verdict=_verdict(difference.interval_low, difference.interval_high, p_value, count),
            )
        )
    return tuple(results)


def _verdict(low: float, high: float, p_value: float, count: int) -> Verdict:
    if p_value >= SIGNIFICANCE or count < _FEWEST_QUERIES:
        return "not_shown"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not_shown"


@functools.lru_cache(maxsize=65536)
def _language_of(text: str) -> str:
    """ISO 639-1 code of the language that the detector takes the text for."""
    return str(_identifier().classify(text)[0])


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class _Features:
    """What a query is like, read from its text and its answers."""

    def __init__(self, corpus: Corpus, relevant: Mapping[str, Set[str]], encoder: SparseEncoder) -> None:
        self._encoder, self._relevant = encoder, relevant
        self._chunk_count = len(corpus.chunks)
        self._answering: dict[str, Chunk] = {}
        self._frequency: Counter[int] = Counter()
        lengths: list[int] = []
        answers = frozenset(chunk_id for found in relevant.values() for chunk_id in found)
        for chunk in corpus.chunks:
            self._frequency.update(self._terms(chunk.embedding_text))
            lengths.append(len(chunk.text.split()))
            if chunk.chunk_id in answers:
                self._answering[chunk.chunk_id] = chunk
        self._thirds = [int(bound) for bound in np.quantile(lengths, [1 / 3, 2 / 3])] if lengths else [0, 0]

    def folder(self, query: EvaluationQuery) -> str:
        """Folder of the first answer's document."""
        return str(PurePosixPath(self._answers(query)[0].document_id).parent)

    def chunk_length(self, query: EvaluationQuery) -> str:
        """By the median of its answers' words, in thirds of the corpus."""
        words = np.median([len(chunk.text.split()) for chunk in self._answers(query)])
        short, long = self._thirds
        if words <= short:
            return f"1 short (up to {short} words)"
        return f"2 middle (up to {long} words)" if words <= long else f"3 long (over {long} words)"

    def query_length(self, query: EvaluationQuery) -> str:
        """In words, by fixed bounds, so that sets can be compared."""
        words = len(query.text.split())
        return "1 to 3 words" if words <= 3 else "4 to 8 words" if words <= 8 else "9 words and more"

    def overlap(self, query: EvaluationQuery) -> str:
        """Share of the query's terms that its best answer holds."""
        terms = self._terms(query.text)
        held = max(len(terms & self._terms(chunk.embedding_text)) for chunk in self._answers(query))
        share = held / max(1, len(terms))
        return "1 up to a third" if share <= 1 / 3 else "2 up to two thirds" if share <= 2 / 3 else "3 nearly all"

    def rare_terms(self, query: EvaluationQuery) -> str:
        """Whether a term of the query stands in at most one of 1,000 chunks, and in one at least."""
        limit = max(1, self._chunk_count // 1000)
        rare = any(0 < self._frequency[term] <= limit for term in self._terms(query.text))
        return "has one" if rare else "has none"

    def language(self, query: EvaluationQuery) -> str:
        """Of the answers; queries are too short for the detector."""
        return _language_of(" ".join(chunk.text for chunk in self._answers(query))[:_READ_CHARACTERS])

    def _terms(self, text: str) -> frozenset[int]:
        return frozenset(self._encoder.encode_queries([text])[0].indices)

    def _answers(self, query: EvaluationQuery) -> list[Chunk]:
        return [self._answering[chunk_id] for chunk_id in sorted(self._relevant[query.query_id])]
