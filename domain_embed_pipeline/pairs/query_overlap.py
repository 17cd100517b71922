"""Which evaluation queries share nearly all their words with a text: the shingle detector of `leakage`.

Linear in the texts: each query is filed only under its rarest words (prefix filtering, Chaudhuri et al. 2006), so a
text meets the few queries that it can match and not all queries with "what".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.shingles import words_of
from domain_embed_pipeline.records import EvaluationQuery


class OverlapIndex:
    """Evaluation queries by their rarest words.

    Sharing most words is not enough: "What are the symptoms of asthma?" shares five of six words with the same question
    about glaucoma, as do hundreds of others. So what is shared must be distinctive: words as rare as the shared ones,
    were they independent, would meet by chance in less than one text, and no more than a few texts hold all of them.
    """

    def __init__(self, queries: Sequence[EvaluationQuery], texts: Sequence[str], settings: LeakageSettings) -> None:
        """Count word frequencies over `queries` and `texts`, and file the queries."""
        self._settings = settings
        self._queries = queries
        self._words = [words_of(query.text) for query in queries]
        self._sets = [frozenset(words) for words in self._words]
        self._allowed = [self._allowed_changes(len(words)) for words in self._sets]
        holders: dict[str, set[int]] = defaultdict(set)
        # Texts that differ in the order of words only are one text here, or ten copies of a query would be a pattern.
        distinct = {*self._sets, *(frozenset(words_of(text)) for text in texts)}
        for number, words in enumerate(distinct):
            for word in words:
                holders[word].add(number)
        self._text_count = len(distinct)
        self._holders = holders
        self._filed: dict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(self._sets):
            for word in self._rarest(words):
                self._filed[word].append(number)

    def matches(self, text: str) -> Iterator[tuple[EvaluationQuery, float, bool]]:
        """Queries that the text gives away, the share of their words that it holds, and whether these are unchanged.

        Unchanged is the same set of words, or the whole query word by word within the text.
        """
        words = words_of(text)
        distinct, runs = set(words), set(pairwise(words))
        for number in sorted({number for word in distinct for number in self._filed.get(word, ())}):
            share = self._share(number, distinct, runs)
            if share:
                is_unchanged = self._sets[number] == distinct or (
                    share == 1 and self._is_quoted(number, runs, share=1.0)
                )
                yield self._queries[number], share, is_unchanged

    def _share(self, number: int, words: set[str], runs: set[tuple[str, str]]) -> float:
        query_words = self._sets[number]
        shared = query_words & words
        allowed = self._allowed[number]
        if len(query_words) - len(shared) > allowed:
            return 0.0
        if query_words != words:
            is_reworded = len(words - shared) <= allowed
            is_quoted = is_reworded or self._is_quoted(number, runs, share=self._settings.quoted_share)
            if not is_quoted or not self._is_distinctive(shared):
                return 0.0
        return len(shared) / len(query_words)

    def _allowed_changes(self, word_count: int) -> int:
        return max(1, round(word_count * self._settings.changed_words_per_ten / 10))

    def _is_quoted(self, number: int, runs: set[tuple[str, str]], *, share: float) -> bool:
        if len(self._words[number]) < self._settings.quoted_minimum_words:
            return False
        query_runs = set(pairwise(self._words[number]))
        return len(query_runs & runs) >= share * len(query_runs)

    def _is_distinctive(self, shared: frozenset[str]) -> bool:
        postings = sorted((self._holders[word] for word in shared), key=len)
        surprise = sum(math.log(self._text_count / len(posting)) for posting in postings)
        if surprise < self._settings.distinctiveness * math.log(self._text_count):
            return False
        return len(set.intersection(*postings)) <= self._settings.pattern_texts

    def _rarest(self, words: frozenset[str]) -> list[str]:
        """Words of which every match must hold at least one."""
        allowed = self._allowed_changes(len(words))
        return sorted(words, key=lambda word: (len(self._holders[word]), word))[: allowed + 1]
