"""Index only, or retrain: the rule, its bounds, and the record of what was decided and why.

What belongs here: the decision. What does not: the measures (`novelty`), starting a run (`defs.sensors`).

Everything is counted since the last training, so that many small drops add up to one that matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.drops.novelty import Novelty

Action = Literal["index_only", "retrain"]


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """From where on new documents are worth a training."""

    fewest_new_chunks: int = 50
    """Below so many new chunks nothing is retrained, however strange they are: there is nothing to learn from."""
    new_cluster_share: float = 0.2
    """Share of new near-duplicate clusters, copies and edits left out, from which the corpus is another one; lower
    retrains for more of the same."""
    new_word_share: float = 0.15
    """Share of words unknown to the last training, of those that several new chunks use. Documents of the same field
    had up to 9 %, of another field 14 % and more; lower takes names and codes for a new field."""
    lowest_recall: float = 0.7
    """Recall@5 of the live model on questions from new chunks below which it does not know them."""
    fewest_questions: int = 30
    """Fewer questions say nothing about Recall."""
    most_new_chunks: int = 5_000
    """So many new chunks are always worth a training."""


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """What was decided about the documents that came, and why."""

    action: Action
    reason: str
    novelty: Novelty
    settings: DecisionSettings


def decide(novelty: Novelty, *, settings: DecisionSettings | None = None) -> RetrainDecision:
    """Whether what came since the last training is worth another one."""
    settings = settings or DecisionSettings()
    return RetrainDecision(*_judge(novelty, settings), novelty, settings)


def _judge(novelty: Novelty, settings: DecisionSettings) -> tuple[Action, str]:
    count = novelty.new_chunk_count
    if novelty.trained_chunk_count == 0:
        return "index_only", "Nothing was ever trained here; start with retrain_and_promote_job."
    if count < settings.fewest_new_chunks:
        return "index_only", f"{count} new chunks since the last training, under {settings.fewest_new_chunks}."
    signs = _signs(novelty, settings)
    crossed = [text for text, is_crossed in signs if is_crossed]
    if crossed:
        return "retrain", f"{count} new chunks since the last training: {'; '.join(crossed)}."
    return "index_only", f"{count} new chunks are more of what is known: {'; '.join(text for text, _ in signs)}."


def _signs(novelty: Novelty, settings: DecisionSettings) -> list[tuple[str, bool]]:
    """Each measure in words, and whether it crosses its bound."""
    signs = [
        (
            f"{novelty.new_cluster_share:.0%} new clusters (bound {settings.new_cluster_share:.0%})",
            novelty.new_cluster_share >= settings.new_cluster_share,
        ),
        (
            f"{novelty.new_word_share:.0%} new words (bound {settings.new_word_share:.0%})",
            novelty.new_word_share >= settings.new_word_share,
        ),
        (
            f"{novelty.new_chunk_count} new chunks (bound {settings.most_new_chunks})",
            novelty.new_chunk_count >= settings.most_new_chunks,
        ),
    ]
    if novelty.recall_at_5 is None or novelty.question_count < settings.fewest_questions:
        return [*signs, (f"Recall@5 not measured, {novelty.question_count} questions on new chunks", False)]
    recall = (
        f"Recall@5 {novelty.recall_at_5:.2f} on {novelty.question_count} questions from new chunks "
        f"(bound {settings.lowest_recall:.2f})"
    )
    return [*signs, (recall, novelty.recall_at_5 < settings.lowest_recall)]
