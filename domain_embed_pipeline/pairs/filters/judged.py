"""What the LLM judge says no to: the passage does not answer the question.

What does not belong here: the judge itself (the questions room has one that pays once a pair), and the pairs that it
sees because the base model cannot find them (`round_trip`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain_embed_pipeline.pairs.filters.base import rejection
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import TrainingPair

NOT_ANSWERED = "not_answered"


class PairJudge(Protocol):
    """Decides whether passages answer their anchors."""

    def is_answered(self, pairs: Sequence[TrainingPair]) -> Sequence[bool | None]:
        """For each pair, whether the passage answers the anchor; None where there is no verdict."""
        ...


def judged(pairs: Sequence[TrainingPair], *, judge: PairJudge) -> FilterResult:
    """Drop questions that the judge calls unanswered (`not_answered`); without a verdict a question stays.

    Only questions are judged: the user's own queries are facts, and titles and sentences are not asked of anybody.
    """
    asked = [index for index, pair in enumerate(pairs) if pair.source == "question"]
    verdicts = judge.is_answered([pairs[index] for index in asked]) if asked else ()
    lost = {index for index, verdict in zip(asked, verdicts, strict=True) if verdict is False}
    return FilterResult(
        tuple(pair for index, pair in enumerate(pairs) if index not in lost),
        tuple(rejection(pairs[index], NOT_ANSWERED, pairs[index].positive[:100]) for index in sorted(lost)),
    )
