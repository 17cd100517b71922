"""From candidates of four sources to the pairs that training uses, with every rejection and the certificate.

What belongs here: the order of the steps, the caps between sources. What does not: the steps themselves (`structural`,
`user_pairs`, `filters`, `leakage`).
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.ids import pair_id_of
from domain_embed_pipeline.pairs.filters.base import SOURCE_ORDER, Verdict, drop_where
from domain_embed_pipeline.pairs.filters.chain import all_filters, apply_filters
from domain_embed_pipeline.pairs.filters.judged import PairJudge
from domain_embed_pipeline.pairs.filters.memo import VerdictMemo
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.leakage import DETECTORS, certify, find_leaks
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.records import (
    DropCount,
    FilterResult,
    Leak,
    SourceCount,
    StructuralPairs,
    TrainingPairs,
    UserPairs,
)
from domain_embed_pipeline.pairs.splits import ChunkSide, chunk_sides, cluster_of_chunks
from domain_embed_pipeline.pairs.structural import seeded_sample
from domain_embed_pipeline.records import (
    Chunk,
    Corpus,
    DocumentSplits,
    EvaluationSet,
    PairSource,
    Question,
    RejectedPair,
    TrainingPair,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingPairSettings:
    """What goes into training, and how much of each source."""

    structural_share: float = 0.1
    """Structural pairs for each question or user pair, when there are any; more and they drown what users ask."""
    structural_floor: int = 1_000
    """Where questions and user pairs are fewer, structural pairs fill up to this many in all: under a thousand pairs
    results differ much from run to run, and a few dozen clicks alone teach nothing. Without questions and user pairs
    all titles are taken."""
    sentences_below: int = 100
    """Neighbouring sentences fill up only where questions, user pairs and titles together are fewer than this, which is
    too few to train on: beside titles and judged queries they made models worse (docs/measurements.md)."""
    max_questions_per_chunk: int = 12
    """Questions of one chunk; more repeat themselves and weigh that chunk too heavily."""
    max_pairs: int = 200_000
    """Ceiling of all pairs; above 50,000 little is gained without hard negatives."""
    seed: int = 13
    """Chooses which pairs the caps leave."""
    filters: FilterSettings = field(default_factory=FilterSettings)
    leakage: LeakageSettings = field(default_factory=LeakageSettings)


@dataclass(frozen=True, slots=True)
class PairCandidates:
    """What training pairs are chosen from."""

    questions: Sequence[Question] = ()
    """Of any chunk; those of held-out documents belong to the evaluation set and are rejected (`held_out`)."""
    structural: StructuralPairs | None = None
    user_pairs: UserPairs | None = None


@dataclass(frozen=True, slots=True)
class PairTools:
    """What helps to choose; each may be missing."""

    encoder: Encoder | None = None
    """The base model, for the embedding detector and the round trip; without it neither runs."""
    judge: PairJudge | None = None
    """Second opinion on questions; which ones, `FilterSettings.judge` says."""
    memo_folder: Path | Location | None = None
    """Where verdicts of the wording filters are kept, so that the next run judges only what is new."""


def build_training_pairs(
    corpus: Corpus,
    splits: DocumentSplits,
    candidates: PairCandidates,
    *,
    evaluation_set: EvaluationSet,
    settings: TrainingPairSettings | None = None,
    tools: PairTools | None = None,
) -> TrainingPairs:
    """Held-out documents out, junk out, caps, leaks out; then the certificate over what is left.

    Args:
        corpus: Chunks that pairs refer to. Pairs of chunks that are gone are rejected (`unknown_chunk`).
        splits: Sides and near-duplicate clusters.
        candidates: Questions, structural pairs and the user's own.
        evaluation_set: What training must not know.
        settings: Caps and thresholds.
        tools: Encoder, judge and memory.

    Raises:
        PairsError: If the settings ask for the round trip or a judge and there is no encoder or judge.
    """
    settings, tools = settings or TrainingPairSettings(), tools or PairTools()
    pairs, lost_questions = _candidate_pairs(candidates, corpus)
    sides = chunk_sides(corpus, splits)
    on_side = drop_where(pairs, lambda pair: _side_verdict(sides.get(pair.chunk_id)))
    filtered = _filtered(on_side.kept, corpus, splits, settings.filters, tools)
    capped = _capped(filtered.kept, settings)
    leaks = find_leaks(
        capped.kept,
        evaluation_set,
        settings=settings.leakage,
        encoder=tools.encoder,
        held_out_chunks=held_out_chunks(corpus, splits, evaluation_set),
        chunk_clusters=cluster_of_chunks(splits),
    )
    clean = _without_leaks(capped.kept, leaks)
    certificate = certify(clean.kept, evaluation_set, leaks, settings=settings.leakage, encoder=tools.encoder)
    rejected = [*lost_questions, *on_side.dropped, *filtered.dropped, *capped.dropped, *clean.dropped]
    logger.info("%d training pairs, %d rejected, %d leaks removed.", len(clean.kept), len(rejected), len(clean.dropped))
    return TrainingPairs(
        pairs_version=certificate.pairs_version,
        corpus_version=corpus.corpus_version,
        splits_version=splits.splits_version,
        evaluation_set_version=evaluation_set.evaluation_set_version,
        pairs=tuple(sorted(clean.kept, key=lambda pair: pair.pair_id)),
        rejected=tuple(sorted(rejected, key=lambda row: (row.reason, row.chunk_id, row.anchor, row.source))),
        mix=_mix(clean.kept, rejected),
        drops=_drops(rejected),
        certificate=certificate,
    )


def held_out_chunks(corpus: Corpus, splits: DocumentSplits, evaluation_set: EvaluationSet) -> frozenset[str]:
    """Chunks that must not be trained on: of held-out documents, near duplicates of those, and of generated answers.

    The last matter when a frozen set outlives the split that it was made from.
    """
    held_out = {chunk_id for chunk_id, side in chunk_sides(corpus, splits).items() if side != "train"}
    if evaluation_set.origin == "generated":
        cluster_of = cluster_of_chunks(splits)
        answers = {cluster_of[row.chunk_id] for row in evaluation_set.qrels if row.chunk_id in cluster_of}
        held_out |= {chunk_id for chunk_id, cluster_id in cluster_of.items() if cluster_id in answers}
    return frozenset(held_out)


def _candidate_pairs(candidates: PairCandidates, corpus: Corpus) -> tuple[list[TrainingPair], list[RejectedPair]]:
    """All candidates as pairs, and the questions whose chunk is gone."""
    chunks = {chunk.chunk_id: chunk for chunk in corpus.chunks}
    pairs: list[TrainingPair] = []
    lost: list[RejectedPair] = []
    for question in candidates.questions:
        chunk = chunks.get(question.chunk_id)
        if chunk is None:
            lost.append(RejectedPair(question.text, question.chunk_id, "question", "unknown_chunk", ""))
        else:
            pairs.append(_question_pair(question, chunk))
    for others in filter(None, (candidates.structural, candidates.user_pairs)):
        pairs += others.pairs
    return pairs, lost


def _question_pair(question: Question, chunk: Chunk) -> TrainingPair:
    positive = chunk.embedding_text
    pair_id = pair_id_of(question.text, positive)
    return TrainingPair(pair_id, question.text, positive, chunk.chunk_id, "question", question.style)


def _side_verdict(side: ChunkSide | None) -> Verdict | None:
    """Chunks with near duplicates on several sides stay in for now: the leakage detector is to find and count them."""
    if side is None:
        return "unknown_chunk", ""
    return ("held_out", f"document on the {side} side") if side in ("dev", "test") else None


def _filtered(
    pairs: Sequence[TrainingPair], corpus: Corpus, splits: DocumentSplits, settings: FilterSettings, tools: PairTools
) -> FilterResult:
    """What the filters keep; what the memo did not know yet, it knows afterwards."""
    memo = VerdictMemo(tools.memo_folder, settings) if tools.memo_folder else None
    clusters = cluster_of_chunks(splits)
    filters = all_filters(
        settings, corpus, chunk_clusters=clusters, encoder=tools.encoder, judge=tools.judge, memo=memo
    )
    filtered = apply_filters(pairs, filters)
    if memo is not None:
        memo.save()
    return filtered


def _without_leaks(pairs: Sequence[TrainingPair], leaks: Sequence[Leak]) -> FilterResult:
    # The plainest finding is the reason.
    first = {leak.pair_id: leak for leak in sorted(leaks, key=lambda leak: -DETECTORS.index(leak.detector))}

    def verdict(pair: TrainingPair) -> Verdict | None:
        """How near which query is."""
        leak = first.get(pair.pair_id)
        return (f"leak_{leak.detector}", f"{leak.similarity:.2f}: {leak.query}") if leak else None

    return drop_where(pairs, verdict)


def _capped(pairs: Sequence[TrainingPair], settings: TrainingPairSettings) -> FilterResult:
    """Questions within their chunk's cap, structural pairs within their quota, everything within the total."""
    by_source: dict[PairSource, list[TrainingPair]] = {
        source: [pair for pair in pairs if pair.source == source] for source in SOURCE_ORDER
    }
    by_source["question"] = _few_per_chunk(by_source["question"], settings)
    asked = len(by_source["user"]) + len(by_source["question"])
    for source, quota in _structural_quotas(asked, len(by_source["title_body"]), settings).items():
        by_source[source] = seeded_sample(by_source[source], quota, settings.seed)
    kept: set[TrainingPair] = set()
    for source in SOURCE_ORDER:
        kept.update(seeded_sample(by_source[source], settings.max_pairs - len(kept), settings.seed))
    return drop_where(pairs, lambda pair: None if pair in kept else ("cap", f"beyond the cap of {pair.source} pairs"))


def _few_per_chunk(questions: Sequence[TrainingPair], settings: TrainingPairSettings) -> list[TrainingPair]:
    by_chunk: dict[str, list[TrainingPair]] = defaultdict(list)
    for pair in questions:
        by_chunk[pair.chunk_id].append(pair)
    few = (seeded_sample(group, settings.max_questions_per_chunk, settings.seed) for group in by_chunk.values())
    return [pair for group in few for pair in group]


def _structural_quotas(asked: int, titles: int, settings: TrainingPairSettings) -> dict[PairSource, int]:
    """Pairs that each structural source may give."""
    quota = int(max(settings.structural_share * asked, settings.structural_floor - asked))
    # Without anything that was asked, titles are all there is to learn from.
    titles = min(titles, quota) if asked else titles
    sentences = max(0, quota - titles) if asked + titles < settings.sentences_below else 0
    return {"title_body": titles, "adjacent_sentence": sentences}


def _drops(rejected: Sequence[RejectedPair]) -> tuple[DropCount, ...]:
    counts = Counter(row.reason for row in rejected)
    return tuple(DropCount(reason, counts[reason]) for reason in sorted(counts, key=lambda name: (-counts[name], name)))


def _mix(kept: Sequence[TrainingPair], rejected: Sequence[RejectedPair]) -> tuple[SourceCount, ...]:
    stayed = Counter(pair.source for pair in kept)
    gone = Counter(row.source for row in rejected)
    total = max(stayed.total(), 1)
    return tuple(
        SourceCount(source, stayed[source] + gone[source], gone[source], stayed[source], stayed[source] / total)
        for source in SOURCE_ORDER
        if stayed[source] + gone[source]
    )
