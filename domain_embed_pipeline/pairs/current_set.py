"""The evaluation set of a run: the user's own queries, else the frozen generated set, else a new one.

What belongs here: which of these it is. What does not: how each is made (`evaluation_sets`, `frozen_sets`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.errors import CorpusTooSmallError
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.pairs.evaluation_sets import (
    EvaluationSetSettings,
    generated_evaluation_set,
    load_user_evaluation_set,
)
from domain_embed_pipeline.pairs.frozen_sets import FrozenEvaluationSet, freeze, refresh_evaluation_set
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet, Question
from domain_embed_pipeline.tables import find_record, save_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuerySource:
    """Where held-out queries come from."""

    own: str | None
    """The user's own BEIR folder; when given, nothing is generated."""
    frozen: Path | Location
    """Where a generated set is kept, so that later runs measure with the same queries."""
    renew: bool = False
    """Make a new generated set although there is a frozen one; old figures no longer compare."""


def current_evaluation_set(
    corpus: Corpus,
    splits: DocumentSplits,
    source: QuerySource,
    *,
    questions: Sequence[Question],
    settings: EvaluationSetSettings | None = None,
) -> EvaluationSet:
    """Held-out queries over the corpus as it is now.

    Args:
        corpus: Chunks that queries are relevant to.
        splits: Held-out documents.
        source: The user's own queries, or where the generated set is kept.
        questions: Of all chunks; those of held-out documents become queries.
        settings: How a set is made.

    Raises:
        EvaluationSetError: If the user's queries are unusable.
        CorpusTooSmallError: If no query can be generated.
    """
    if source.own is not None:
        return load_user_evaluation_set(source.own, corpus, settings=settings)
    frozen = None if source.renew else find_record(FrozenEvaluationSet, source.frozen)
    if frozen is not None:
        refreshed = refresh_evaluation_set(frozen, corpus, splits=splits)
        if refreshed is not None:
            return refreshed
    made = _generated(corpus, splits, questions, settings)
    save_record(freeze(made, corpus), source.frozen)
    return made


def _generated(
    corpus: Corpus, splits: DocumentSplits, questions: Sequence[Question], settings: EvaluationSetSettings | None
) -> EvaluationSet:
    try:
        return generated_evaluation_set(corpus, splits, questions, settings=settings)
    except CorpusTooSmallError:
        headings = _headings_as_questions(corpus)
        if not headings:
            raise
        logger.warning(
            "No question of a held-out document is to be had, so headings stand for queries. Any model finds a "
            "passage by its heading: supply real queries (DOMAIN_EMBED_QUERIES_PATH) or a key before you trust this."
        )
        # Headings have one style, whatever mix was asked for.
        plain = replace(settings or EvaluationSetSettings(), style_shares=())
        return generated_evaluation_set(corpus, splits, headings, settings=plain)


def _headings_as_questions(corpus: Corpus) -> list[Question]:
    return [
        Question(f"g-{digest_of('heading', chunk.chunk_id)[:24]}", chunk.chunk_id, "heading", chunk.title, "headings")
        for chunk in corpus.chunks
        if chunk.title
    ]
