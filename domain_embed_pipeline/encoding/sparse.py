"""BM25 as sparse vectors, so that a vector store ranks by it.

What belongs here: text to term weights, and the spec that both sides must share. What does not: search (`evaluation`
offline, `serving` in the store) and the inverse document frequency, which the store computes from what it holds.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.ids import digest_of_json

TOKENIZATION = "words-1"
"""Moves when the same text would give other terms; part of the fingerprint."""


@dataclass(frozen=True, slots=True)
class SparseSpec:
    """Everything that decides which terms and weights a text gets; stored with the collection."""

    language: str = "english"
    """Name of a Snowball stemmer; `none` leaves words as they are and keeps stop words."""
    average_length: float = 100.0
    """Terms per chunk, mean over the corpus; only passage weights depend on it."""
    k1: float = 1.2
    b: float = 0.75
    tokenization: str = TOKENIZATION

    @property
    def fingerprint(self) -> str:
        """Digest of all fields."""
        return f"bm25-{digest_of_json(asdict(self))[:16]}"


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term indices, rising, with their weights."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


def fit_sparse_spec(texts: Iterable[str], *, language: str = "english") -> SparseSpec:
    """Spec with the mean length of these texts.

    Args:
        texts: `Chunk.embedding_text` of the corpus.
        language: Name of a Snowball stemmer, or `none`.

    Raises:
        ConfigurationError: If the language is unknown.
    """
    terms_of = _Terms(language)
    lengths = [len(terms_of(text)) for text in texts]
    return SparseSpec(language=language, average_length=max(1.0, sum(lengths) / max(1, len(lengths))))


class SparseEncoder:
    """Term weights whose inner product, times the store's IDF, is BM25.

    A passage's weight of a term that occurs tf times among its length terms is
    tf (k1 + 1) / (tf + k1 (1 - b + b length / average_length)) (Robertson and Zaragoza 2009); a query's is 1.
    """

    def __init__(self, spec: SparseSpec) -> None:
        """Load the stemmer and stop words of the language.

        Raises:
            ConfigurationError: If the language or the tokenization is unknown, or a number is out of bounds.
        """
        if spec.tokenization != TOKENIZATION:
            raise ConfigurationError(
                f"The BM25 spec was made with tokenization {spec.tokenization!r}, this version has {TOKENIZATION!r}.",
                fix="Build the collection again with this version of the package.",
            )
        if not (spec.average_length > 0 and spec.k1 >= 0 and 0 <= spec.b <= 1):
            raise ConfigurationError(
                f"BM25 with k1={spec.k1}, b={spec.b}, average_length={spec.average_length} is not defined.",
                fix="Use k1 of 0 or more, b from 0 to 1 and a positive average length.",
            )
        self.spec = spec
        self._terms_of = _Terms(spec.language)

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weight 1 for each distinct term."""
        return [_vector(dict.fromkeys(self._terms_of(text), 1.0)) for text in texts]

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """BM25 weight of each distinct term; empty for a text without any."""
        return [self._passage(text) for text in texts]

    def _passage(self, text: str) -> SparseVector:
        counts = Counter(self._terms_of(text))
        length, spec = counts.total(), self.spec
        damping = spec.k1 * (1 - spec.b + spec.b * length / spec.average_length)
        return _vector({term: tf * (spec.k1 + 1) / (tf + damping) for term, tf in counts.items()})


class _Terms:
    """Text to indices of stemmed lower-cased words without stop words; pairs of characters in unspaced scripts."""

    def __init__(self, language: str) -> None:
        self._stem, self._stop_words = _stemmer(language), _stop_words(language)
        self._known: dict[str, tuple[int, ...]] = {}
        """Indices of spaced words: of runs of an unspaced script there is no end."""

    def __call__(self, text: str) -> list[int]:
        indices: list[int] = []
        for word in split_words(text.lower()):
            found = self._known.get(word)
            indices += self._of_word(word) if found is None else found
        return indices

    def _of_word(self, word: str) -> tuple[int, ...]:
        if word in self._stop_words:
            terms = []
        elif _UNSPACED.match(word):
            return tuple(_index_of(word[place : place + 2]) for place in range(max(1, len(word) - 1)))
        else:
            terms = [self._stem(word)]
        return self._known.setdefault(word, tuple(map(_index_of, terms)))


_UNSPACED_RANGES = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Scripts written without spaces: kana, Han, Thai, Lao, Burmese, Khmer."""
_UNSPACED = re.compile(f"[{_UNSPACED_RANGES}]")
_ONE_SCRIPT = re.compile(f"[{_UNSPACED_RANGES}]+|[^{_UNSPACED_RANGES}]+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)


def split_words(text: str) -> list[str]:
    """Words of a text (NFKC), with case; a run of an unspaced script is one word."""
    text = unicodedata.normalize("NFKC", text)
    if text.isascii():
        return _ASCII_WORD.findall(text)
    runs = _word_pattern().findall(text)
    return [word for run in runs for word in (_ONE_SCRIPT.findall(run) if _UNSPACED.search(run) else [run])]


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    r"""Runs of letters, digits, underscores and combining marks, which `\w` leaves out and so would cut Hindi words."""
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    known = frozenset(marks)
    starts = [code for code in marks if code - 1 not in known]
    ends = [code for code in marks if code + 1 not in known]
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return re.compile(rf"[\w{ranges}]+")


@functools.lru_cache(maxsize=1_000_000)
def _index_of(term: str) -> int:
    """First 32 bits of BLAKE2b: the same for every process, corpus and version of Python."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")


def _vector(weights: dict[int, float]) -> SparseVector:
    terms = sorted(weights)
    return SparseVector(tuple(terms), tuple(weights[term] for term in terms))


def _stemmer(language: str) -> Any:
    import Stemmer

    if language == "none":
        return str
    if language not in Stemmer.algorithms():
        raise ConfigurationError(
            f"No stemmer for the language {language!r}.",
            fix=f"Use none or one of: {', '.join(Stemmer.algorithms())}.",
        )
    return Stemmer.Stemmer(language).stemWord


def _stop_words(language: str) -> frozenset[str]:
    """Empty for a language with a stemmer but no list: IDF makes its common words weigh little."""
    from bm25s import stopwords

    name = "EN" if language == "english" else language.upper()
    return frozenset(getattr(stopwords, f"STOPWORDS_{name}", ()))
