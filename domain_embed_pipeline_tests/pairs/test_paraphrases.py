"""The paraphrase detector with the real base model on the sample data: what it finds, and at what price."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.pairs.leakage import find_leaks
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.pairs.helpers import evaluation_set_of, pair_of
from domain_embed_pipeline_tests.pairs.paraphrases import PARAPHRASES

_STYLES = ("natural", "keyword", "situation", "specific")


def _sample_questions() -> list[tuple[str, str]]:
    """(question, chunk id) of the sample data."""
    lines = (ROOT / "data" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(text, row["chunk_id"]) for row in rows for style in _STYLES for text in row.get(style, ())]


class _BaseModel:
    """all-MiniLM-L6-v2 without caches."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(resolve_base_model("all-MiniLM-L6-v2").folder, device="cpu")
        self.spec = EncoderSpec("base", "fingerprint", 384, 256, "", "", True, "float32")

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._model.encode(list(texts), batch_size=128, normalize_embeddings=True)

    encode_passages = encode_queries


@pytest.mark.slow
def test_a_quarter_of_hand_made_paraphrases_is_found_for_few_of_the_other_questions() -> None:
    asked = dict(PARAPHRASES)
    questions = _sample_questions()
    chunk_of_query = {text: chunk_id for text, chunk_id in questions if text in asked}
    assert chunk_of_query.keys() == asked.keys()
    planted = [pair_of(asked[text], chunk_id=chunk_id) for text, chunk_id in chunk_of_query.items()]
    others: list[TrainingPair] = [pair_of(text, chunk_id=chunk_id) for text, chunk_id in questions if text not in asked]
    evaluation_set = evaluation_set_of({text: [chunk_id] for text, chunk_id in chunk_of_query.items()})
    encoder, settings = _BaseModel(), LeakageSettings()

    def found(chosen: LeakageSettings) -> set[str]:
        leaks = find_leaks([*planted, *others], evaluation_set, settings=chosen, encoder=encoder)
        return {leak.pair_id for leak in leaks if leak.detector == "embedding"}

    hits = found(settings)
    assert len(hits & {pair.pair_id for pair in planted}) >= 8
    siblings = {pair.pair_id for pair in others if pair.chunk_id in chunk_of_query.values()}
    # Seven of 192 were found, among them the same question as search terms.
    assert len(hits & siblings) <= 0.05 * len(siblings)
    assert len(hits - siblings - {pair.pair_id for pair in planted}) <= 1
    # One cosine for all passages finds none of them.
    assert not found(replace(settings, same_answer_quantile=1.0)) & {pair.pair_id for pair in planted}
