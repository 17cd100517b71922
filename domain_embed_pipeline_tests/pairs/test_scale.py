"""Time of the whole room against the size of the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline_tests.pairs.helpers import documents_of
from domain_embed_pipeline_tests.pairs.scale import CHUNKS_EACH, Room


@pytest.mark.slow
def test_four_times_the_corpus_takes_about_four_times_as_long_and_the_next_chunks_less(tmp_path: Path) -> None:
    chunks = documents_of(1_000, chunks_each=CHUNKS_EACH)
    Room(tmp_path / "warm").run(chunks[:400])  # what is loaded once
    small = sum(Room(tmp_path / "small").run(chunks[:2_000]).values())
    room = Room(tmp_path / "large")
    large = sum(room.run(chunks[:7_920]).values())
    assert large < 6 * small
    # 100,000 chunks in ten minutes on one core.
    assert large < 7_920 * 600 / 100_000
    following = sum(room.run(chunks).values())
    assert following < 0.75 * large
    # The next 1,000 at 100,000 chunks in a minute.
    assert following < 8_000 * 60 / 100_000 * 2
