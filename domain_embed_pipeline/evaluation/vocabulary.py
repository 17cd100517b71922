"""What fine-tuning did to the vocabulary: the neighbours of the corpus's most specific terms, before and after.

What belongs here: picking the terms and their neighbours. What does not: judging by them; this is for the eye.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain_embed_pipeline.encoding.sparse import split_words
from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.records import Corpus

_FEWEST_CHUNKS = 3
_SHORTEST = 2


@dataclass(frozen=True, slots=True)
class NearestTerms:
    """What a term of the domain is close to, before and after fine-tuning."""

    term: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def specific_terms(corpus: Corpus, count: int) -> list[str]:
    """Words in the form they mostly have, by occurrences times ln(chunks / chunks that hold it), highest first.

    A word that fewer than three chunks hold is left out, as are numbers.
    """
    occurrences, chunks, forms = Counter[str](), Counter[str](), defaultdict[str, Counter[str]](Counter)
    for chunk in corpus.chunks:
        words = [word for word in split_words(chunk.text) if len(word) >= _SHORTEST and not word.isdigit()]
        occurrences.update(word.lower() for word in words)
        chunks.update({word.lower() for word in words})
        for word in words:
            forms[word.lower()][word] += 1
    weights = {
        word: number * math.log(len(corpus.chunks) / chunks[word])
        for word, number in occurrences.items()
        if chunks[word] >= _FEWEST_CHUNKS
    }
    ranked = sorted(weights, key=lambda word: (-weights[word], word))[:count]
    return [max(forms[word], key=lambda form: (forms[word][form], form)) for word in ranked]


def nearest_terms(
    before: Encoder, after: Encoder, terms: Sequence[str], *, shown: int = 20, neighbours: int = 5
) -> tuple[NearestTerms, ...]:
    """Neighbours of terms among all terms, for those whose neighbours changed most.

    Args:
        before: The base model.
        after: The fine-tuned model.
        terms: From `specific_terms`; some hundreds make neighbours worth reading.
        shown: Terms to return.
        neighbours: Nearest terms of each, by cosine.
    """
    old, new = (_neighbours(encoder, terms, neighbours) for encoder in (before, after))
    changed = sorted(range(len(terms)), key=lambda place: (len(set(old[place]) & set(new[place])), place))
    return tuple(
        NearestTerms(
            terms[place],
            tuple(terms[other] for other in old[place]),
            tuple(terms[other] for other in new[place]),
        )
        for place in sorted(changed[:shown])
    )


def _neighbours(encoder: Encoder, terms: Sequence[str], count: int) -> list[list[int]]:
    vectors = encoder.encode_queries(terms)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    count = min(count, len(terms) - 1)
    return [row[:count].tolist() for row in np.argsort(-scores, axis=1, kind="stable")]
