"""The bounds of the decision on real documents: the ward handbook, and this project's own documentation."""

from __future__ import annotations

import hashlib

import pytest

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.drops.decision import decide
from domain_embed_pipeline.drops.novelty import novelty_of
from domain_embed_pipeline.records import Chunk, Corpus
from domain_embed_pipeline_tests.conftest import ROOT


def _load(folder: str) -> Corpus:
    return load_corpus(
        str(ROOT / folder), settings=CorpusSettings(), count_tokens=lambda text: len(text.split()) * 4 // 3
    )


def _place(chunk: Chunk) -> int:
    return int(hashlib.sha256(chunk.document_id.encode()).hexdigest(), 16) % 100


@pytest.mark.slow
def test_more_of_the_same_field_is_indexed_and_another_field_or_a_third_more_is_retrained_on() -> None:
    handbook, other = _load("data/corpus"), _load("docs")
    drops = {
        "a tenth more": (10, handbook.chunks, "index_only"),
        "a third more": (30, handbook.chunks, "retrain"),
        "another field": (0, (*handbook.chunks, *other.chunks[:60]), "retrain"),
    }
    for name, (share, served, action) in drops.items():
        trained = Corpus("c", tuple(chunk for chunk in handbook.chunks if _place(chunk) >= share), (), (), 0)
        novelty = novelty_of(served, trained)
        print(f"{name}: {novelty.new_cluster_share:.2f} clusters, {novelty.new_word_share:.3f} words")  # noqa: T201
        assert decide(novelty).action == action, name
