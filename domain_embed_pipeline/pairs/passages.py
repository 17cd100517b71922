"""Documents that share a long run of words, wherever the chunk boundaries fall.

Two files that quote one paragraph are rarely cut at the same place, so their chunks need not be near duplicates; the
run of words is the same. What does not belong here: near duplicates of whole texts (`clusters`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from domain_embed_pipeline.pairs.shingles import shingle_hashes

# One shingle in 2^2 is looked at: a shared run of 20 words more than a shingle is missed in 0.2 % of the cases, and
# memory falls to a quarter.
_SAMPLE_MASK = np.uint64(3)


def documents_sharing_runs(
    words: Mapping[str, np.ndarray], run_words: int, *, max_documents: int
) -> Iterator[tuple[str, str]]:
    """Pairs of documents that share at least one run of `run_words` words.

    Args:
        words: `document_id -> word hashes in order`.
        run_words: Words in a run; 0 for no search.
        max_documents: Runs in more documents than this are boilerplate and join nothing.

    Yields:
        The first document that holds the run (by id) with each other one.
    """
    document_ids = sorted(words) if run_words else []
    hashes, owners = _sampled_runs([words[document_id] for document_id in document_ids], run_words)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if hashes.size else hashes
    sizes = np.diff(np.append(starts, hashes.size))
    shared = (sizes > 1) & (sizes <= max_documents)
    edges = {
        (int(owners[start]), int(other))
        for start, size in zip(starts[shared].tolist(), sizes[shared].tolist(), strict=True)
        for other in owners[start + 1 : start + size]
    }
    yield from ((document_ids[left], document_ids[right]) for left, right in sorted(edges))


def _sampled_runs(texts: list[np.ndarray], run_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of runs and the index of the text that each is from; both of shape (runs,)."""
    hashes, owners = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int32)]
    for index, words in enumerate(texts):
        if words.size >= run_words:
            runs = shingle_hashes(words, run_words)
            runs = runs[(runs & _SAMPLE_MASK) == 0]
            hashes.append(runs)
            owners.append(np.full(runs.size, index, dtype=np.int32))
    return np.concatenate(hashes), np.concatenate(owners)
