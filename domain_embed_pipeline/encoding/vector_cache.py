"""Vectors filed under (text digest, encoder fingerprint), so that no text is encoded twice by one encoder.

One SQLite file an encoder, in WAL mode: what was written before a crash is there after it, and several processes may
read and write. Keys cover the prompt, since a query and a passage of the same words get different vectors.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec, Side, SidedEncoder, encode_side
from domain_embed_pipeline.sqlite_files import write_ahead

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_LOOKUP_SIZE = 500
_PAGE_BYTES = 32_768
"""Of a new file: seven vectors of 1,024 dimensions to a page. In pages of SQLite's 4,096 bytes, filed by key, each had
one of its own (docs/measurements.md)."""
ENCODE_SIZE = 512
"""Texts encoded before their vectors are stored: what a kill can cost."""
GPU_ENCODE_SIZE = 8_192
"""The same on a GPU, which does so many in seconds, and waits between parts."""


def text_key(prompt: str, text: str) -> bytes:
    """Key of a text under a prompt (16 bytes)."""
    return hashlib.blake2b(prompt.encode() + b"\x00" + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class VectorCache:
    """Vectors of one encoder in `<folder>/<fingerprint>.sqlite`."""

    def __init__(self, folder: str | Path, spec: EncoderSpec) -> None:
        self._path = Path(folder) / f"{spec.fingerprint}.sqlite"
        self._dimension = spec.dimension
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            write_ahead(connection)
            connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=60, isolation_level=None)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Stored vectors of the given keys; missing keys are absent."""
        import numpy as np

        found: dict[bytes, np.ndarray] = {}
        with closing(self._connect()) as connection:
            for start in range(0, len(keys), _LOOKUP_SIZE):
                part = keys[start : start + _LOOKUP_SIZE]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
                for key, blob in rows:
                    found[key] = np.frombuffer(blob, dtype=np.float32)
        return found

    def put(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Store vectors, shape (len(keys), dimension), in one transaction."""
        rows = [(key, vector.astype("float32").tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            connection.execute("COMMIT")

    def forget(self, texts: Sequence[str], prompts: Sequence[str]) -> int:
        """Erase the vectors of texts under the given prompts; returns how many were there."""
        keys = [(text_key(prompt, text),) for text in texts for prompt in prompts]
        with closing(self._connect()) as connection:
            before = connection.total_changes
            # Deleted pages are overwritten, and the log that still holds them is cut.
            connection.execute("PRAGMA secure_delete=ON")
            connection.executemany("DELETE FROM vectors WHERE key = ?", keys)
            erased = connection.total_changes - before
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return erased


class CachedEncoder(SidedEncoder):
    """An encoder that encodes only what its cache lacks, and is not even loaded when the cache has everything."""

    def __init__(
        self, spec: EncoderSpec, *, load: Callable[[], Encoder], cache: VectorCache, part_size: int = ENCODE_SIZE
    ) -> None:
        super().__init__(spec)
        self._load = load
        self._cache = cache
        self._part_size = part_size
        self._encoder: Encoder | None = None
        self.encoded_count = 0
        """Texts encoded so far because the cache lacked them."""

    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        import numpy as np

        prompt = self._spec.prompt_of(side)
        keys = [text_key(prompt, text) for text in texts]
        vectors = self._cache.get(list(dict.fromkeys(keys)))
        vectors |= self._fresh({key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}, side)
        result = np.empty((len(keys), self._spec.dimension), dtype=np.float32)
        for row, key in enumerate(keys):
            result[row] = vectors[key]
        return result

    def _fresh(self, missing: Mapping[bytes, str], side: Side) -> dict[bytes, np.ndarray]:
        """Vectors of what the cache lacks, by key. One part is stored while the next is encoded."""
        vectors: dict[bytes, np.ndarray] = {}
        # Longest first: batches of one encode call are of like length, and the slowest come early.
        order = sorted(missing, key=lambda key: -len(missing[key]))
        size = self._part_size
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-vectors") as pool:
            stored: Future[None] | None = None
            for number, part in enumerate(parts, start=1):
                fresh = encode_side(self._loaded(), [missing[key] for key in part], side)
                # What a disk refuses is raised here, one part later.
                if stored is not None:
                    stored.result()
                stored = pool.submit(self._cache.put, part, fresh)
                vectors.update(zip(part, fresh, strict=True))
                done = min(number * size, len(order))
                logger.info("[%d/%d] texts encoded by %s", done, len(order), self._spec.model_version)
            if stored is not None:
                stored.result()
        self.encoded_count += len(order)
        return vectors

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder
