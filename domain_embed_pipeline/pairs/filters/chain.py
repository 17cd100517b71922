"""All filters in their order, with one result."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.errors import PairsError
from domain_embed_pipeline.pairs.filters.base import PairFilter
from domain_embed_pipeline.pairs.filters.boilerplate import boilerplate
from domain_embed_pipeline.pairs.filters.duplicates import duplicates
from domain_embed_pipeline.pairs.filters.judged import PairJudge, judged
from domain_embed_pipeline.pairs.filters.language import other_language
from domain_embed_pipeline.pairs.filters.length import too_short
from domain_embed_pipeline.pairs.filters.memo import VerdictMemo
from domain_embed_pipeline.pairs.filters.round_trip import round_trip
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.filters.wording import artifacts, context_dependent, copies
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import Corpus, RejectedPair, TrainingPair

logger = logging.getLogger(__name__)


def wording_filters(settings: FilterSettings, corpus: Corpus) -> list[PairFilter]:
    """The filters that judge each pair by itself; what they keep together does not depend on their order."""
    chunk_texts = {chunk.chunk_id: chunk.text for chunk in corpus.chunks}
    chosen = [
        (settings.drop_short, functools.partial(too_short, settings=settings)),
        (settings.drop_boilerplate, functools.partial(boilerplate, settings=settings)),
        (settings.drop_artifacts, functools.partial(artifacts, settings=settings)),
        (settings.drop_other_language, functools.partial(other_language, settings=settings)),
        (settings.drop_context_dependent, functools.partial(context_dependent, settings=settings)),
        (settings.drop_copies, functools.partial(copies, settings=settings, chunk_texts=chunk_texts)),
    ]
    return [pair_filter for is_on, pair_filter in chosen if is_on]


def all_filters(
    settings: FilterSettings,
    corpus: Corpus,
    *,
    chunk_clusters: Mapping[str, str],
    encoder: Encoder | None = None,
    judge: PairJudge | None = None,
    memo: VerdictMemo | None = None,
) -> list[PairFilter]:
    """Every filter that the settings ask for; duplicates after junk, so that junk cannot crowd out a good twin.

    With a memo, the wording filters are one, which judges only pairs that are not remembered.

    Raises:
        PairsError: If the round trip is asked for and there is no encoder, or a judge and there is none.
    """
    if settings.judge != "off" and judge is None:
        raise PairsError(
            f'judge is "{settings.judge}" but no judge was given.', fix='Pass a judge, or set it to "off".'
        )
    filters = wording_filters(settings, corpus)
    if memo is not None:
        filters = [functools.partial(memo.filtered, filters=filters)]
    if settings.drop_duplicates:
        sections = {chunk.chunk_id: f"{chunk.document_id}\x00{chunk.title}" for chunk in corpus.chunks if chunk.title}
        filters.append(
            functools.partial(duplicates, settings=settings, chunk_clusters=chunk_clusters, chunk_sections=sections)
        )
    if settings.round_trip_max_rank is not None:
        if encoder is None:
            raise PairsError(
                f"round_trip_max_rank is {settings.round_trip_max_rank} but no encoder was given.",
                fix="Pass the base model's encoder, or leave the round trip off.",
            )
        filters.append(
            functools.partial(
                round_trip,
                settings=settings,
                corpus=corpus,
                chunk_clusters=chunk_clusters,
                encoder=encoder,
                judge=judge if settings.judge == "hard" else None,
            )
        )
    if settings.judge == "all" and judge is not None:
        filters.append(functools.partial(judged, judge=judge))
    return filters


def apply_filters(pairs: Sequence[TrainingPair], filters: Sequence[PairFilter]) -> FilterResult:
    """Each filter on what the one before it kept."""
    kept: tuple[TrainingPair, ...] = tuple(pairs)
    dropped: list[RejectedPair] = []
    for pair_filter in filters:
        result = pair_filter(kept)
        kept = result.kept
        dropped += result.dropped
    logger.info("Filters kept %d of %d pairs.", len(kept), len(pairs))
    return FilterResult(kept, tuple(dropped))
