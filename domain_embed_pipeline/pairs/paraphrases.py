"""Training texts that ask an evaluation query in other words: the embedding detector of `leakage`.

Two thresholds, because one cannot do: paraphrases are often no nearer than different questions about one subject. A
text about any passage is a paraphrase only from a high cosine on. A text about a passage that answers the query has
that against it already, and is compared with how near *different* questions of one passage are by this model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.encoding.vectors import unit_length
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.records import Leak
from domain_embed_pipeline.records import EvaluationSet, TrainingPair

if TYPE_CHECKING:
    import numpy as np

_TEXTS_AT_ONCE = 4096
_SAMPLED_PASSAGES = 300
_ANCHORS_A_PASSAGE = 8
_SAMPLED_QUERIES = 2000
_CHANCE_QUANTILE = 0.999
_FEWEST_COSINES = 100
"""Below it a quantile of 0.98 is the second largest value or so, and says nothing."""


class ParaphraseIndex:
    """Evaluation queries as vectors, with the passages that answer them."""

    def __init__(
        self,
        pairs: Sequence[TrainingPair],
        evaluation_set: EvaluationSet,
        encoder: Encoder,
        settings: LeakageSettings,
        chunk_clusters: Mapping[str, str],
    ) -> None:
        """Encode the queries, and measure on `pairs` how near different questions of one passage are."""
        self._encoder, self._clusters = encoder, chunk_clusters
        self._queries = evaluation_set.queries
        self._vectors = unit_length(encoder.encode_queries([query.text for query in self._queries]))
        self._asked: dict[str, set[int]] = defaultdict(set)
        number = {query.query_id: place for place, query in enumerate(self._queries)}
        for row in evaluation_set.qrels:
            self._asked[self._cluster(row.chunk_id)].add(number[row.query_id])
        usual = _usual_similarity(pairs, encoder, settings.same_answer_quantile)
        self.similarity = max(settings.embedding_similarity, usual or 0.0, _chance_similarity(self._vectors) or 0.0)
        """Cosine of a paraphrase, whatever it is about."""
        self.same_answer_similarity = min(settings.same_answer_similarity, usual or 1.0)
        """Cosine of a paraphrase about a passage that answers the query."""

    def leaks(self, pairs_by_text: Mapping[str, Sequence[TrainingPair]]) -> Iterator[Leak]:
        """Every (pair, query) that is a paraphrase. Both are encoded as queries: do they ask the same?"""
        texts = list(pairs_by_text)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            block = texts[start : start + _TEXTS_AT_ONCE]
            scores = unit_length(self._encoder.encode_queries(block)) @ self._vectors.T
            for text, row in zip(block, scores, strict=True):
                yield from self._of_text(text, row, pairs_by_text[text])

    def _of_text(self, text: str, scores: np.ndarray, pairs: Sequence[TrainingPair]) -> Iterator[Leak]:
        import numpy as np

        anywhere = np.flatnonzero(scores >= self.similarity).tolist()
        for pair in pairs:
            about = self._asked.get(self._cluster(pair.chunk_id), ())
            same_answer = [place for place in about if scores[place] >= self.same_answer_similarity]
            for place in {*anywhere, *same_answer}:
                query, similarity = self._queries[place], round(float(scores[place]), 4)
                yield Leak(pair.pair_id, query.query_id, "embedding", similarity, text, query.text)

    def _cluster(self, chunk_id: str) -> str:
        return self._clusters.get(chunk_id, chunk_id)


def _usual_similarity(pairs: Sequence[TrainingPair], encoder: Encoder, quantile: float) -> float | None:
    """Cosine that few pairs of different questions of one passage exceed; None where there are too few to tell."""
    import numpy as np

    groups = _anchors_by_passage(pairs) if quantile < 1 else []
    places, texts = [], []
    for group in groups:
        places += combinations(range(len(texts), len(texts) + len(group)), 2)
        texts += group
    if len(places) < _FEWEST_COSINES:
        return None
    vectors = unit_length(encoder.encode_queries(texts))
    left, right = np.array(places).T
    return float(np.quantile((vectors[left] * vectors[right]).sum(axis=1), quantile))


def _chance_similarity(queries: np.ndarray) -> float | None:
    """Cosine that one in a thousand pairs of different queries reaches; None where there are too few to tell.

    Where every passage has one question, only this tells that a model puts all texts close together.

    Args:
        queries: Vectors of the evaluation queries, of unit length: shape (queries, dimensions).
    """
    import numpy as np

    some = queries[:_SAMPLED_QUERIES]
    cosines = (some @ some.T)[np.triu_indices(len(some), k=1)]
    return float(np.quantile(cosines, _CHANCE_QUANTILE)) if len(cosines) >= 1 / (1 - _CHANCE_QUANTILE) else None


def _anchors_by_passage(pairs: Sequence[TrainingPair]) -> list[list[str]]:
    """Some anchors of some passages that were asked about several times; ids are digests, so their order is chance."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for pair in sorted(pairs, key=lambda pair: pair.pair_id):
        if pair.source in ("question", "user"):
            found[pair.chunk_id].setdefault(pair.anchor)
    several = [chunk_id for chunk_id in sorted(found) if len(found[chunk_id]) > 1]
    # By id and not by text: in alphabetical order one style of asking would come first.
    return [list(found[chunk_id])[:_ANCHORS_A_PASSAGE] for chunk_id in several[:_SAMPLED_PASSAGES]]
