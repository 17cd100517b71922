"""A folder in BEIR layout as corpus and evaluation set, outside a pipeline run.

What belongs here: reading. What does not: what is done with the set (`guard_sets`, `standalone`).
"""

from __future__ import annotations

from collections.abc import Collection

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.pairs.evaluation_sets import HELD_OUT, EvaluationSetSettings, load_user_evaluation_set
from domain_embed_pipeline.records import Corpus, EvaluationSet, Split

_ANY_LENGTH = 100_000


def load_judged_set(folder: str, *, needed_splits: Collection[Split] = HELD_OUT) -> tuple[Corpus, EvaluationSet]:
    """Passages of `corpus.jsonl` as they are, and the queries of `qrels/test.tsv` and, if there is one, `dev.tsv`.

    Args:
        folder: Where these files lie.
        needed_splits: Sides that are going to be used: a warning says so when one has few queries or none.

    Raises:
        CorpusError: If `corpus.jsonl` is missing or unreadable.
        EvaluationSetError: If queries or judgments are unusable.
    """
    folder = str(folder).rstrip("/")
    # Ready chunks are never cut, so their lengths decide nothing; only the base model could count them in tokens.
    settings = CorpusSettings(max_tokens=_ANY_LENGTH)
    corpus = load_corpus(f"{folder}/corpus.jsonl", settings=settings, count_tokens=_words)
    all_stay_test = EvaluationSetSettings(dev_share_of_test=0.0)
    queries = load_user_evaluation_set(folder, corpus, settings=all_stay_test, needed_splits=needed_splits)
    return corpus, queries


def _words(text: str, /) -> int:
    return len(text.split())
