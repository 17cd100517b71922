"""Texts as words and hashed word runs (shingles), the form in which clusters, filters and leak detectors compare them.

What does not belong here: thresholds and decisions.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

# Scripts written without spaces give one word a character; everything else is runs of letters, digits, apostrophes.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+(?:'[^\W_]+)*"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
"""What the other finds in ASCII, several times as fast."""
_BASE = 0x9E3779B97F4A7C15


def words_of(text: str) -> list[str]:
    """Words in order: compatibility-normalised, case-folded, without punctuation."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold())


def comparison_key(text: str) -> str:
    """The form in which two texts are the same text: case, punctuation and spacing do not count."""
    return " ".join(words_of(text))


@functools.lru_cache(maxsize=1 << 20)
def _word_hash(word: str) -> int:
    """64 bits that do not depend on the process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@functools.cache
def _powers(size: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(pow(_BASE, exponent, 1 << 64)) for exponent in range(size))


def word_hashes(words: Sequence[str]) -> np.ndarray:
    """Hashes of words in order: uint64, shape (words,)."""
    return np.fromiter(map(_word_hash, words), dtype=np.uint64, count=len(words))


def shingle_hashes(words: Sequence[str] | np.ndarray, size: int) -> np.ndarray:
    """Hashes of every run of `size` words: uint64, sorted, each once.

    A text shorter than `size` is one shingle; a text without words has none.

    Args:
        words: Words, or the result of `word_hashes`.
        size: Words in a run.
    """
    hashes = words if isinstance(words, np.ndarray) else word_hashes(words)
    size = min(size, hashes.size)
    count = hashes.size - size + 1
    combined = np.zeros(count if size else 0, dtype=np.uint64)
    for offset, power in enumerate(_powers(size)):
        combined += hashes[offset : offset + count] * power
    return np.unique(combined)


def shared_count(left: np.ndarray, right: np.ndarray) -> int:
    """Size of the intersection of two results of `shingle_hashes`."""
    return int(np.intersect1d(left, right, assume_unique=True).size)


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """Likeness of two shingle sets, size of the intersection by size of the union; 0 when both are empty."""
    shared = shared_count(left, right)
    union = left.size + right.size - shared
    return shared / union if union else 0.0


def containment(part: np.ndarray, whole: np.ndarray) -> float:
    """Share of `part` that is in `whole`; 0 when `part` is empty."""
    return shared_count(part, whole) / part.size if part.size else 0.0
