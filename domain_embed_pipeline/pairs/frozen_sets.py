"""An evaluation set that stays: a later run uses it again, and a changed corpus keeps what can be kept.

What does not belong here: making a set (`evaluation_sets`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain_embed_pipeline.errors import EvaluationSetError
from domain_embed_pipeline.pairs.evaluation_sets import QueryDraft, assemble
from domain_embed_pipeline.pairs.shingles import containment, shingle_hashes, words_of
from domain_embed_pipeline.pairs.splits import cluster_of_chunks
from domain_embed_pipeline.records import Chunk, Corpus, DocumentSplits, EvaluationSet, LostQuery

logger = logging.getLogger(__name__)

_SHINGLE_WORDS = 3


@dataclass(frozen=True, slots=True)
class FrozenEvaluationSet:
    """An evaluation set with the passages that answered its queries when it was made.

    The passages are what lets a query survive when its document is edited or cut into other chunks.
    """

    evaluation_set: EvaluationSet
    passages: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """When a new chunk stands for one that is gone."""

    minimum_overlap: float = 0.5
    """Share of the old passage's three-word runs in the new chunk, or of the new chunk's in the old passage; lower
    hands relevance to chunks that no longer answer the query."""
    minimum_words: int = 20
    """Words of a new chunk that lies within an old passage; fewer are a fragment."""


def freeze(evaluation_set: EvaluationSet, corpus: Corpus) -> FrozenEvaluationSet:
    """Put the relevant passages beside the set, so that it outlives this version of the corpus."""
    relevant = {row.chunk_id for row in evaluation_set.qrels}
    return FrozenEvaluationSet(evaluation_set, tuple(chunk for chunk in corpus.chunks if chunk.chunk_id in relevant))


def refresh_evaluation_set(
    previous: FrozenEvaluationSet | EvaluationSet | None,
    corpus: Corpus,
    *,
    splits: DocumentSplits | None = None,
    settings: RefreshSettings | None = None,
) -> EvaluationSet | None:
    """The same queries over the corpus as it is now; None when there is no previous set.

    A relevant chunk that is still there stays relevant, with its near duplicates when `splits` are given and the set
    was generated. One that is gone is looked for by shared word runs, in its documents first and then
    anywhere. A query of which nothing is found is reported as lost. No query changes sides and none is added.

    Raises:
        EvaluationSetError: If no query is left.
    """
    if previous is None:
        return None
    frozen = previous if isinstance(previous, FrozenEvaluationSet) else FrozenEvaluationSet(previous, ())
    old = frozen.evaluation_set
    now_for = _Successors(frozen.passages, corpus, settings or RefreshSettings())
    expand = _cluster_members(splits) if splits is not None and old.origin == "generated" else {}
    drafts, lost = [], list(old.lost_queries)
    relevant = old.relevant_chunks()
    for query in old.queries:
        found = {new for chunk_id in relevant[query.query_id] for new in now_for.successors(chunk_id)}
        found |= {twin for chunk_id in found for twin in expand.get(chunk_id, ())}
        if found:
            drafts.append(QueryDraft(query.text, query.split, query.style, found))
        else:
            detail = f"Its {len(relevant[query.query_id])} relevant chunks are gone and no chunk has taken their place."
            lost.append(LostQuery(query.query_id, query.text, detail))
    if not drafts:
        raise EvaluationSetError(
            f"None of the {len(old.queries)} queries of {old.evaluation_set_version} is answered by the corpus now.",
            fix="Check the corpus path, or ask for a new evaluation set.",
        )
    return assemble(drafts, lost, corpus, old.origin)


class _Successors:
    """Finds what has taken the place of a chunk."""

    def __init__(self, passages: Sequence[Chunk], corpus: Corpus, settings: RefreshSettings) -> None:
        self._settings = settings
        self._present = {chunk.chunk_id for chunk in corpus.chunks}
        self._passages = {chunk.chunk_id: chunk for chunk in passages}
        self._by_document: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in corpus.chunks:
            for document_id in chunk.document_ids:
                self._by_document[document_id].append(chunk)
        gone = [chunk for chunk in passages if chunk.chunk_id not in self._present]
        self._anywhere = self._index(gone, corpus)

    def successors(self, chunk_id: str) -> set[str]:
        """Chunk ids of the corpus that stand for the chunk; itself when it is still there."""
        if chunk_id in self._present:
            return {chunk_id}
        passage = self._passages.get(chunk_id)
        if passage is None:
            return set()
        near = {chunk for document_id in passage.document_ids for chunk in self._by_document.get(document_id, ())}
        return self._like(passage, near) or self._like(passage, self._anywhere.get(chunk_id, ()))

    def _like(self, passage: Chunk, candidates: set[Chunk] | Sequence[Chunk]) -> set[str]:
        old = _shingles(passage)
        return {chunk.chunk_id for chunk in candidates if self._is_successor(old, _shingles(chunk))}

    def _is_successor(self, old: np.ndarray, new: np.ndarray) -> bool:
        if containment(old, new) >= self._settings.minimum_overlap:
            return True
        is_long_enough = new.size + _SHINGLE_WORDS - 1 >= self._settings.minimum_words
        return is_long_enough and containment(new, old) >= self._settings.minimum_overlap

    def _index(self, gone: Sequence[Chunk], corpus: Corpus) -> dict[str, list[Chunk]]:
        """For each chunk that is gone, the chunks of the corpus that share a word run with it."""
        owners: dict[int, list[str]] = defaultdict(list)
        for chunk in gone:
            for value in _shingles(chunk).tolist():
                owners[value].append(chunk.chunk_id)
        found: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in corpus.chunks if owners else ():
            for chunk_id in {name for value in _shingles(chunk).tolist() for name in owners.get(value, ())}:
                found[chunk_id].append(chunk)
        return found


def _shingles(chunk: Chunk) -> np.ndarray:
    return shingle_hashes(words_of(chunk.text), _SHINGLE_WORDS)


def _cluster_members(splits: DocumentSplits) -> Mapping[str, set[str]]:
    """`chunk_id -> ids of its cluster`."""
    cluster_of = cluster_of_chunks(splits)
    members: dict[str, set[str]] = defaultdict(set)
    for chunk_id, cluster_id in cluster_of.items():
        members[cluster_id].add(chunk_id)
    return {chunk_id: members[cluster_id] for chunk_id, cluster_id in cluster_of.items()}
