"""No text is encoded twice by one encoder, and what was stored survives a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.encoding.vector_cache import CachedEncoder, VectorCache, text_key
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.fakes import KeywordEncoder

WORDS = ["pump", "valve", "motor"]
TEXTS = ["the pump", "a valve", "pump and motor", "nothing"]


def cached(folder: Path, encoder: KeywordEncoder, spec: EncoderSpec | None = None) -> CachedEncoder:
    spec = spec or encoder.spec
    return CachedEncoder(spec, load=lambda: encoder, cache=VectorCache(folder, spec))


def test_vectors_are_those_of_the_encoder_in_the_order_asked(tmp_path: Path) -> None:
    texts = [*TEXTS, TEXTS[0]]
    expected = KeywordEncoder(WORDS).encode_passages(texts)
    encoder = cached(tmp_path, KeywordEncoder(WORDS))
    assert (encoder.encode_passages(texts) == expected).all()
    assert (encoder.encode_passages(texts[::-1]) == expected[::-1]).all()


def test_a_text_is_encoded_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    encoder = cached(tmp_path, inner)
    encoder.encode_passages([*TEXTS, *TEXTS])
    encoder.encode_passages([*TEXTS, "a new motor"])
    assert sorted(inner.encoded) == sorted([*TEXTS, "a new motor"])
    assert encoder.encoded_count == 5


def test_a_full_cache_needs_no_encoder_at_all(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    expected = cached(tmp_path, inner).encode_passages(TEXTS)

    def refuse() -> KeywordEncoder:
        raise AssertionError("loaded")

    again = CachedEncoder(inner.spec, load=refuse, cache=VectorCache(tmp_path, inner.spec))
    assert (again.encode_passages(TEXTS) == expected).all()


def test_a_query_and_a_passage_of_the_same_words_are_kept_apart_by_their_prompts(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    encoder = cached(tmp_path, inner, dataclasses.replace(inner.spec, query_prompt="query: "))
    encoder.encode_queries(TEXTS)
    encoder.encode_passages(TEXTS)
    assert encoder.encoded_count == 2 * len(TEXTS)


def test_without_prompts_a_query_and_a_passage_are_one_entry(tmp_path: Path) -> None:
    encoder = cached(tmp_path, KeywordEncoder(WORDS))
    encoder.encode_queries(TEXTS)
    encoder.encode_passages(TEXTS)
    assert encoder.encoded_count == len(TEXTS)


def test_a_prompt_cannot_pass_for_the_start_of_a_text() -> None:
    assert text_key("ab", "c") != text_key("a", "bc")
    assert text_key("", "\ud800") != text_key("", "\ud801")


def test_another_fingerprint_never_sees_the_vectors(tmp_path: Path) -> None:
    cached(tmp_path, KeywordEncoder(WORDS)).encode_passages(TEXTS)
    inner = KeywordEncoder(WORDS[::-1])
    changed = dataclasses.replace(inner.spec, fingerprint="changed")
    assert (cached(tmp_path, inner, changed).encode_passages(TEXTS) == inner.encode_passages(TEXTS)).all()


def test_more_texts_than_one_lookup_or_encode_call_takes(tmp_path: Path) -> None:
    texts = [f"pump {number}" for number in range(1_300)]
    encoder = cached(tmp_path, KeywordEncoder(WORDS))
    assert encoder.encode_passages(texts).shape == (1_300, 3)
    encoder.encode_passages(texts)
    assert encoder.encoded_count == 1_300


def test_no_texts_give_no_vectors(tmp_path: Path) -> None:
    assert cached(tmp_path, KeywordEncoder(WORDS)).encode_queries([]).shape == (0, 3)


def test_a_run_that_fails_keeps_what_was_encoded_before(tmp_path: Path) -> None:
    class Failing(KeywordEncoder):
        def encode_passages(self, texts):  # noqa: ANN001, ANN202
            if len(self.encoded) >= 512:
                raise RuntimeError("power cut")
            return super().encode_passages(texts)

    texts = [f"pump {number}" for number in range(700)]
    with pytest.raises(RuntimeError, match="power cut"):
        cached(tmp_path, Failing(WORDS)).encode_passages(texts)
    inner = KeywordEncoder(WORDS)
    cached(tmp_path, inner).encode_passages(texts)
    assert len(inner.encoded) == 700 - 512


def test_a_file_is_hardly_larger_than_its_vectors(tmp_path: Path) -> None:
    spec = EncoderSpec("m", "f", 384, 1, "", "", True, "float32")
    cache, count = VectorCache(tmp_path, spec), 2_000
    cache.put([text_key("", str(number)) for number in range(count)], np.ones((count, 384), np.float32))
    cache.forget([], [])  # moves the log into the file
    assert (tmp_path / "f.sqlite").stat().st_size < 1.2 * count * 384 * 4


def test_a_file_filed_by_key_as_it_was_before_is_read_and_written(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    with contextlib.closing(sqlite3.connect(tmp_path / f"{inner.spec.fingerprint}.sqlite")) as connection:
        connection.execute("CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
        stored = np.full(inner.spec.dimension, 0.5, np.float32)
        connection.execute("INSERT INTO vectors VALUES (?, ?)", (text_key("", TEXTS[0]), stored.tobytes()))
        connection.commit()
    encoder = cached(tmp_path, inner)
    assert (encoder.encode_passages(TEXTS)[0] == stored).all()
    assert sorted(inner.encoded) == sorted(TEXTS[1:])
    assert VectorCache(tmp_path, inner.spec).forget(TEXTS, [""]) == len(TEXTS)


def test_forgetting_erases_a_text_under_every_prompt_given(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    spec = dataclasses.replace(inner.spec, query_prompt="query: ")
    encoder, cache = cached(tmp_path, inner, spec), VectorCache(tmp_path, spec)
    encoder.encode_queries(TEXTS)
    encoder.encode_passages(TEXTS)
    assert cache.forget(TEXTS[:1], ["query: ", ""]) == 2
    assert cache.forget(TEXTS[:1], ["query: ", ""]) == 0
    encoder.encode_passages(TEXTS)
    assert encoder.encoded_count == 2 * len(TEXTS) + 1


def test_forgotten_vectors_are_not_in_the_file_any_more(tmp_path: Path) -> None:
    inner = KeywordEncoder(WORDS)
    cache = VectorCache(tmp_path, inner.spec)
    mark = np.frombuffer(b"SECRETVECTOR", dtype=np.float32)
    cache.put([text_key("", "secret")], mark[None, :])
    assert cache.forget(["secret"], [""]) == 1
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"SECRETVECTOR" not in stored


WRITER = """
import sys
import numpy as np
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.encoding.vector_cache import VectorCache, text_key
name, count = sys.argv[2], int(sys.argv[3])
cache = VectorCache(sys.argv[1], EncoderSpec("m", "f", 8, 1, "", "", True, "float32"))
for number in range(count):
    cache.put([text_key("", f"{name} {number} {row}") for row in range(20)], np.full((20, 8), number, np.float32))
    print(number, flush=True)
"""
WRITTEN = EncoderSpec("m", "f", 8, 1, "", "", True, "float32")


def start_writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def found(folder: Path, name: str, numbers: range) -> int:
    keys = [text_key("", f"{name} {number} {row}") for number in numbers for row in range(20)]
    return len(VectorCache(folder, WRITTEN).get(keys))


def test_two_processes_write_side_by_side(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, name, 50) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert [found(tmp_path, name, range(50)) for name in ("one", "two")] == [1_000, 1_000]


def test_kill_9_while_writing_loses_no_committed_row(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, "one", 1_000_000)
    assert writer.stdout is not None
    committed = 0
    for line in writer.stdout:
        committed = int(line) + 1
        if committed == 25:
            writer.send_signal(signal.SIGKILL)
            break
    writer.wait(60)
    assert found(tmp_path, "one", range(committed)) == committed * 20
    with sqlite3.connect(tmp_path / "f.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) % 20 FROM vectors").fetchone() == (0,), "a transaction is whole"
