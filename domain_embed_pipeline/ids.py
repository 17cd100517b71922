"""Content ids: everything that costs money or time is named by what it is, never by when it was made.

What belongs here: digests and the ids built from them. What does not: file access, records.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
import uuid
from collections.abc import Iterable

_POINT_NAMESPACE = uuid.UUID("6f1d0c1e-6f0b-5a57-9a0e-3f1c8f0f5e11")


@functools.lru_cache(maxsize=1024)  # the questions of one passage come one after the other
def normalise_text(text: str) -> str:
    """NFC with every run of white space made one space: the form in which texts are compared and digested."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def digest_of(*parts: str) -> str:
    """sha256 (64 hex digits) over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hasher.update(f"{len(data)}:".encode())
        hasher.update(data)
    return hasher.hexdigest()


def digest_of_json(value: object) -> str:
    """Digest of a JSON-serialisable value, independent of the order of keys."""
    return digest_of(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def chunk_id_of(text: str, title: str) -> str:
    """Id of a chunk: the same passage under the same title is one chunk, whatever file it is in."""
    return f"c-{digest_of('chunk', normalise_text(title), normalise_text(text))[:24]}"


def query_id_of(text: str) -> str:
    """Id of an evaluation query; its prefix keeps it apart from chunk ids (BEIR drops equal ids silently)."""
    return f"q-{digest_of('query', normalise_text(text))[:24]}"


def pair_id_of(anchor: str, positive: str) -> str:
    """Id of a training pair."""
    return f"p-{digest_of('pair', normalise_text(anchor), normalise_text(positive))[:24]}"


def version_of(kind: str, parts: Iterable[str]) -> str:
    """Version id such as `corpus-1f2e3d4c5b6a` of an unordered collection of content ids."""
    return f"{kind}-{digest_of(kind, *sorted(parts))[:12]}"


def point_id_of(chunk_id: str) -> str:
    """Deterministic Qdrant point id (UUIDv5) of a chunk, which makes retried uploads idempotent."""
    return str(uuid.uuid5(_POINT_NAMESPACE, chunk_id))
