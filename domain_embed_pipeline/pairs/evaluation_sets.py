"""Evaluation sets: from the user's own queries, or from questions about held-out documents; frozen once made.

What belongs here: which queries there are, which chunks answer them, what the set can show. What does not: whether
training knows them (`leakage`), how well a model answers them (the evaluation room).
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from domain_embed_pipeline.errors import CorpusTooSmallError, EvaluationSetError
from domain_embed_pipeline.ids import digest_of, normalise_text, pair_id_of, query_id_of, version_of
from domain_embed_pipeline.pairs.beir import has_file, qrels_path, read_qrels, read_queries
from domain_embed_pipeline.pairs.filters.chain import apply_filters, wording_filters
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.references import ChunkReferences
from domain_embed_pipeline.pairs.shingles import comparison_key
from domain_embed_pipeline.pairs.splits import chunk_sides, cluster_of_chunks
from domain_embed_pipeline.records import (
    Corpus,
    DocumentSplits,
    EvaluationQuery,
    EvaluationSet,
    LostQuery,
    Question,
    RelevanceJudgment,
    Split,
    TrainingPair,
)

logger = logging.getLogger(__name__)

HELD_OUT: tuple[Split, ...] = ("test", "dev")
DIFFERENCE_SD = 0.45
"""Standard deviation of a query's change in Recall@5 between two models: about this on corpora with 1 to 2 relevant
chunks a query, where most queries do not change and the others go from 0 to 1 or back."""
_SMALL_SET = 100


@dataclass(frozen=True, slots=True)
class EvaluationSetSettings:
    """How an evaluation set is made."""

    dev_share_of_test: float = 0.3
    """Share of the user's test queries that become dev when there is no qrels/dev.tsv: choosing on test is cheating."""
    max_queries_per_chunk: int = 2
    """Generated queries from one chunk; more make the set look larger than it is."""
    max_dev_queries: int = 500
    """Ceiling of generated dev queries; dev is measured many times."""
    max_test_queries: int = 1000
    """Ceiling of generated test queries."""
    style_shares: tuple[tuple[str, float], ...] = ()
    """Mix of generated queries as (style, share), e.g. what users really type; empty: every style equally often."""
    seed: int = 13
    """Chooses among questions; another seed makes another set."""
    filters: FilterSettings = field(default_factory=FilterSettings)
    """Junk is no query either."""


@dataclass(slots=True)
class QueryDraft:
    """A query under construction."""

    text: str
    split: Split
    style: str
    chunk_ids: set[str]


def load_user_evaluation_set(
    path: str,
    corpus: Corpus,
    *,
    settings: EvaluationSetSettings | None = None,
    needed_splits: Collection[Split] = HELD_OUT,
) -> EvaluationSet:
    """The user's own queries from a BEIR folder: `queries.jsonl`, `qrels/test.tsv` and, when there is one, `dev.tsv`.

    A corpus id in qrels is anything that `references` understands. Queries of the same text become one; a query in both
    files is a test query. Queries that no chunk of the corpus answers are listed as lost.

    Args:
        path: The folder.
        corpus: Chunks that queries are relevant to.
        settings: How dev queries are set apart when there is no `dev.tsv`.
        needed_splits: Sides that are going to be used: a warning says so when one has few queries or none.

    Raises:
        EvaluationSetError: If a file is missing or malformed, or no query is left.
    """
    settings = settings or EvaluationSetSettings()
    path = str(path)
    queries = read_queries(path, error=EvaluationSetError)
    references = ChunkReferences(corpus)
    drafts: dict[str, QueryDraft] = {}
    lost: dict[str, LostQuery] = {}
    has_dev = has_file(qrels_path(path, "dev"))
    for split in HELD_OUT if has_dev else HELD_OUT[:1]:
        for query_id, names in _judged(qrels_path(path, split)).items():
            text = queries.get(query_id, "")
            chunk_ids = {chunk.chunk_id for name in names for chunk in references.resolve(name)}
            if not text or not chunk_ids:
                problem = "No chunk of the corpus is named by" if text else "No query text in queries.jsonl for"
                detail = f"{problem} {', '.join(sorted(names)[:3]) if text else query_id}."
                lost[query_id] = LostQuery(query_id_of(text) if text else query_id, text, detail)
                continue
            # Test comes first, so a query in both files stays on the test side.
            draft = drafts.setdefault(comparison_key(text) or text, QueryDraft(text, split, "user", set()))
            draft.chunk_ids |= chunk_ids
    if not has_dev:
        _move_to_dev(drafts.values(), settings)
    if not drafts:
        raise EvaluationSetError(
            f"{path} holds no usable query; {len(lost)} name nothing in the corpus.",
            fix="Name relevant texts by the corpus's own ids, by chunk_id, by document id or by document id#Heading.",
        )
    return assemble(drafts.values(), lost.values(), corpus, "user", needed_splits=needed_splits)


def generated_evaluation_set(
    corpus: Corpus,
    splits: DocumentSplits,
    questions: Sequence[Question],
    *,
    settings: EvaluationSetSettings | None = None,
) -> EvaluationSet:
    """Dev and test queries from the questions of held-out documents.

    Relevant are the chunk that the question was written from and its near duplicates. Questions that the filters call
    junk are left out, and so are chunks whose near duplicates lie on another side.

    Raises:
        CorpusTooSmallError: If no held-out document has a usable question.
        EvaluationSetError: If `style_shares` names no style that there is.
    """
    settings = settings or EvaluationSetSettings()
    _check_styles(settings, questions)
    sides = chunk_sides(corpus, splits)
    cluster_of = cluster_of_chunks(splits)
    members: dict[str, set[str]] = defaultdict(set)
    for chunk_id, cluster_id in cluster_of.items():
        members[cluster_id].add(chunk_id)
    asked = [question for question in questions if sides.get(question.chunk_id) in HELD_OUT]
    usable = _without_junk(asked, corpus, settings)
    drafts: dict[str, QueryDraft] = {}
    ceilings: dict[Split, int] = {"test": settings.max_test_queries, "dev": settings.max_dev_queries}
    for split, ceiling in ceilings.items():
        pool = [question for question in usable if sides[question.chunk_id] == split]
        for question in _in_mix(pool, cluster_of, ceiling, settings):
            draft = drafts.setdefault(
                comparison_key(question.text), QueryDraft(question.text, split, question.style, set())
            )
            draft.chunk_ids |= members[cluster_of[question.chunk_id]]
    if not any(draft.split == "test" for draft in drafts.values()):
        raise CorpusTooSmallError(
            f"None of the {len(questions)} questions belongs to a test document.",
            fix="Supply your own queries (DOMAIN_EMBED_QUERIES_PATH), or generate questions for every chunk.",
        )
    return assemble(drafts.values(), (), corpus, "generated")


def assemble(
    drafts: Iterable[QueryDraft],
    lost: Iterable[LostQuery],
    corpus: Corpus,
    origin: Literal["user", "generated"],
    *,
    needed_splits: Collection[Split] = HELD_OUT,
) -> EvaluationSet:
    """Queries and judgments in stable order, with the version that follows from them; warns of small sides."""
    ordered = sorted(drafts, key=lambda draft: query_id_of(draft.text))
    queries = tuple(EvaluationQuery(query_id_of(draft.text), draft.text, draft.split, draft.style) for draft in ordered)
    qrels = tuple(
        RelevanceJudgment(query.query_id, chunk_id)
        for query, draft in zip(queries, ordered, strict=True)
        for chunk_id in sorted(draft.chunk_ids)
    )
    parts = [f"{query.query_id}\x00{query.split}" for query in queries]
    parts += [f"{row.query_id}\x00{row.chunk_id}" for row in qrels]
    lost = tuple(sorted(lost, key=lambda query: (query.query_id, query.detail)))
    made = EvaluationSet(version_of("evaluation", parts), corpus.corpus_version, origin, queries, qrels, lost)
    for warning in size_warnings(made, needed_splits):
        logger.warning("%s", warning)
    if lost:
        logger.warning("%d queries are lost; the first: %s", len(lost), lost[0].detail)
    return made


def minimum_detectable_effect(query_count: int, *, sd: float = DIFFERENCE_SD) -> float:
    """Smallest true gain in Recall@5 that `query_count` queries show in 4 of 5 runs at the 5 % level (two-sided).

    2.8 * sd / sqrt(n), where 2.8 = 1.96 + 0.84 are the normal quantiles of 97.5 % and 80 %, and sd is that of the
    paired per-query differences.
    """
    return 2.8 * sd / math.sqrt(query_count) if query_count else math.inf


def size_warnings(evaluation_set: EvaluationSet, splits: Collection[Split] = HELD_OUT) -> tuple[str, ...]:
    """What these sides of the set are too small for, a sentence each; empty when they are large enough."""
    warnings = []
    for split in splits:
        count = len(evaluation_set.queries_of(split))
        if not count:
            warnings.append(f"There is no {split} query.")
        elif count < _SMALL_SET:
            effect = minimum_detectable_effect(count)
            warnings.append(
                f"{count} {split} queries can only show a gain in Recall@5 of about {effect:.2f} or more; {_SMALL_SET} "
                f"show {minimum_detectable_effect(_SMALL_SET):.2f}."
            )
    return tuple(warnings)


def _judged(path: str) -> Mapping[str, set[str]]:
    """`query id -> references` with a positive score."""
    judged: dict[str, set[str]] = defaultdict(set)
    for row in read_qrels(path, error=EvaluationSetError):
        if row.score > 0:
            judged[row.query_id].add(row.reference)
    return judged


def _move_to_dev(drafts: Iterable[QueryDraft], settings: EvaluationSetSettings) -> None:
    """Split off dev by a stable hash of the text."""
    for draft in drafts:
        place = int(digest_of("dev", str(settings.seed), normalise_text(draft.text))[:13], 16) / 16**13
        if place < settings.dev_share_of_test:
            draft.split = "dev"


def _without_junk(questions: Sequence[Question], corpus: Corpus, settings: EvaluationSetSettings) -> list[Question]:
    """Questions that the wording filters keep, in stable order."""
    chunks = {chunk.chunk_id: chunk for chunk in corpus.chunks}
    by_pair: dict[str, Question] = {}
    pairs = []
    for question in sorted(questions, key=lambda question: question.question_id):
        positive = chunks[question.chunk_id].embedding_text
        pair_id = pair_id_of(question.text, positive)
        if pair_id not in by_pair:
            by_pair[pair_id] = question
            pairs.append(TrainingPair(pair_id, question.text, positive, question.chunk_id, "question", question.style))
    result = apply_filters(pairs, wording_filters(settings.filters, corpus))
    return [by_pair[pair.pair_id] for pair in result.kept]


def _check_styles(settings: EvaluationSetSettings, questions: Sequence[Question]) -> None:
    wanted = {style for style, share in settings.style_shares if share > 0}
    found = {question.style for question in questions}
    if settings.style_shares and found and not wanted & found:
        raise EvaluationSetError(
            f"style_shares asks for {', '.join(sorted(wanted)) or 'nothing'}; the questions are in the styles "
            f"{', '.join(sorted(found))}.",
            fix="Name styles that are there, or leave style_shares empty.",
        )


def _in_mix(
    questions: Sequence[Question], cluster_of: Mapping[str, str], ceiling: int, settings: EvaluationSetSettings
) -> list[Question]:
    """At most `ceiling` questions, each time from the style that is furthest behind its share.

    A style of share 0 is never taken; a style that has run out leaves its share to the others.
    """
    queues: dict[str, list[Question]] = defaultdict(list)
    for question in sorted(
        questions, key=lambda question: digest_of("mix", str(settings.seed), question.question_id), reverse=True
    ):
        queues[question.style].append(question)
    shares = dict(settings.style_shares) or dict.fromkeys(queues, 1.0)
    taken: dict[str, int] = {style: 0 for style in sorted(queues) if shares.get(style, 0) > 0}
    used: dict[str, int] = defaultdict(int)
    chosen: list[Question] = []
    while taken and len(chosen) < ceiling:
        style = min(taken, key=lambda name: (taken[name] / shares[name], name))
        if not queues[style]:
            del taken[style]
            continue
        question = queues[style].pop()
        cluster_id = cluster_of[question.chunk_id]
        if used[cluster_id] < settings.max_queries_per_chunk:
            used[cluster_id] += 1
            taken[style] += 1
            chosen.append(question)
    return chosen
