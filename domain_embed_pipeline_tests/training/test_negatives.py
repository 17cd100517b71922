"""Mined negatives are near, and none of them is an answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.records import Chunk, TrainingPair
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.training.negatives import HardNegatives, mine_hard_negatives
from domain_embed_pipeline.training.settings import MiningSettings
from domain_embed_pipeline_tests.fakes import KeywordEncoder
from domain_embed_pipeline_tests.tiny_model import build_tiny_model, change_weights, planted_words
from domain_embed_pipeline_tests.training.scenario import chunk_of, corpus_of, pair_of, planted

WORDS = ["pump", "valve", "motor", "belt", "gear", "fuse"]
TOP = MiningSettings(relative_margin=0.0, sampling="top", exclude_same_document=False)

ANSWER = chunk_of("pump valve motor belt.")
COPY = chunk_of("Pump valve motor belt!")
SIBLING = chunk_of("pump valve motor gear", document="manual.txt")
NEAR = chunk_of("pump valve fuse gear")
FAR = chunk_of("fuse")
CHUNKS = [ANSWER, COPY, SIBLING, NEAR, FAR]
CLUSTERS = {ANSWER.chunk_id: "same", COPY.chunk_id: "same"}
QUESTION = "pump valve motor belt"


def mine(
    chunks: list[Chunk] = CHUNKS,
    pairs: list[TrainingPair] | None = None,
    settings: MiningSettings = TOP,
    clusters: dict[str, str] = CLUSTERS,
    words: list[str] = WORDS,
) -> HardNegatives:
    pairs = [pair_of(QUESTION, ANSWER)] if pairs is None else pairs
    return mine_hard_negatives(KeywordEncoder(words), corpus_of(chunks), pairs, clusters=clusters, settings=settings)


def excluded(result: HardNegatives) -> dict[str, int]:
    return {row.guard: row.count for row in result.excluded}


def test_the_nearest_chunk_that_is_no_near_duplicate_is_mined() -> None:
    result = mine()
    (row,) = result.negatives
    assert (row.negative_chunk_id, row.rank) == (SIBLING.chunk_id, 1)
    assert (row.positive_score, row.negative_score) == (pytest.approx(1), pytest.approx(0.75))
    assert excluded(result)["known positive"] == 2


def test_planted_near_duplicates_are_never_mined_however_many() -> None:
    copies = [chunk_of(f"pump valve motor belt {number}") for number in range(60)]
    clusters = CLUSTERS | {copy.chunk_id: "same" for copy in copies}
    settings = dataclasses.replace(TOP, negatives_per_pair=3, last_rank=3)
    rows = mine([*copies, *CHUNKS], settings=settings, clusters=clusters).negatives
    assert [row.negative_chunk_id for row in rows] == [SIBLING.chunk_id, NEAR.chunk_id, FAR.chunk_id]


def test_every_known_positive_of_the_anchor_is_excluded_whatever_its_source() -> None:
    pairs = [
        pair_of(QUESTION, ANSWER),
        pair_of(QUESTION.upper(), SIBLING),
        pair_of(QUESTION, NEAR, source="title_body"),
    ]
    assert {row.negative_chunk_id for row in mine(pairs=pairs).negatives} == {FAR.chunk_id}


def test_the_same_text_under_another_title_is_an_answer_too() -> None:
    twin = chunk_of(ANSWER.text, title="gear")
    assert twin.chunk_id not in {row.negative_chunk_id for row in mine([*CHUNKS, twin]).negatives}


def test_structural_pairs_are_not_mined_for() -> None:
    result = mine(pairs=[pair_of(QUESTION, ANSWER, source="adjacent_sentence")])
    assert (result.negatives, result.anchor_count) == ((), 0)


def test_chunks_that_share_a_document_with_the_answer_are_excluded() -> None:
    chunks = [dataclasses.replace(ANSWER, document_ids=("manual.txt", "other.txt")), *CHUNKS[1:]]
    result = mine(chunks, settings=dataclasses.replace(TOP, exclude_same_document=True))
    assert [row.negative_chunk_id for row in result.negatives] == [NEAR.chunk_id]
    assert excluded(result)["same document"] == 1


@pytest.mark.parametrize(("first", "last", "mined"), [(1, 1, [SIBLING]), (2, 2, [NEAR]), (2, 3, [NEAR]), (4, 9, [])])
def test_ranks_outside_the_window_are_excluded(first: int, last: int, mined: list[Chunk]) -> None:
    result = mine(settings=dataclasses.replace(TOP, first_rank=first, last_rank=last))
    assert [row.negative_chunk_id for row in result.negatives] == [chunk.chunk_id for chunk in mined]
    assert result.anchors_without_negative == (not mined)


def test_a_negative_too_close_to_the_positive_is_excluded() -> None:
    # The positive scores 1, the sibling 0.75, the near one 0.5.
    result = mine(settings=dataclasses.replace(TOP, relative_margin=0.3))
    assert [row.negative_chunk_id for row in result.negatives] == [NEAR.chunk_id]
    assert excluded(result)["margin"] == 1


class SignedEncoder(KeywordEncoder):
    """Scores can be negative: the word `not` turns a vector round."""

    def _encode(self, texts):  # noqa: ANN001, ANN202
        signs = [[-1.0] if "not" in text.split() else [1.0] for text in texts]
        return super()._encode(texts) * signs


def test_the_margin_lies_under_the_positive_when_scores_are_negative() -> None:
    # The positive scores -0.5; a margin of 0.3 asks for less than -0.65, not for less than -0.35.
    answer, close, clear = chunk_of("not pump fuse gear belt"), chunk_of("not pump fuse gear"), chunk_of("not pump")
    encoder = SignedEncoder(WORDS)
    result = mine_hard_negatives(
        encoder,
        corpus_of([answer, close, clear]),
        [pair_of("pump", answer)],
        clusters={},
        settings=dataclasses.replace(TOP, relative_margin=0.3),
    )
    (row,) = result.negatives
    assert row.positive_score == pytest.approx(-0.5)
    assert (row.negative_chunk_id, row.negative_score) == (clear.chunk_id, pytest.approx(-1))


def test_a_pair_with_too_few_candidates_gets_none_and_is_counted() -> None:
    result = mine(settings=dataclasses.replace(TOP, negatives_per_pair=4))
    assert (result.negatives, result.anchor_count, result.anchors_without_negative) == ((), 1, 1)


def test_a_random_draw_is_repeatable_and_not_changed_by_another_pair() -> None:
    chunks = [ANSWER, *(chunk_of(f"pump valve number {number}") for number in range(30))]
    settings = dataclasses.replace(TOP, sampling="random", negatives_per_pair=3)
    pairs = [pair_of(QUESTION, ANSWER), pair_of("motor belt", ANSWER)]
    both = mine(chunks, pairs, settings).negatives
    alone = mine(chunks, pairs[1:], settings).negatives
    assert both == mine(chunks, pairs, settings).negatives
    assert both[3:] == alone
    other = mine(chunks, pairs, dataclasses.replace(settings, seed=7)).negatives
    assert {row.negative_chunk_id for row in both} != {row.negative_chunk_id for row in other}


def test_what_was_mined_is_named_by_its_content() -> None:
    assert mine().negatives_version == mine().negatives_version
    assert mine().negatives_version != mine(settings=dataclasses.replace(TOP, first_rank=2)).negatives_version


def test_statistics_say_how_hard_the_negatives_are() -> None:
    result = mine(settings=dataclasses.replace(TOP, negatives_per_pair=3))
    assert result.positive_score_median == pytest.approx(1)
    assert result.negative_score_median == pytest.approx(0.5)
    assert result.negative_score_p95 == pytest.approx(0.725, abs=1e-3)


def test_mining_with_changed_weights_never_sees_old_vectors(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "base", planted_words())
    corpus, pairs, _ = planted(40)
    registry = ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "vectors")

    def scores() -> list[float]:
        encoder = registry.encoder(register_base_model(registry, folder).model_version)
        return [
            row.negative_score
            for row in mine_hard_negatives(encoder, corpus, pairs, clusters={}, settings=TOP).negatives
        ]

    before, again = scores(), scores()
    change_weights(folder)
    after = scores()
    uncached = ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "no vectors")
    registry = uncached
    assert before == again
    assert after != before
    assert after == scores()


def test_a_tuned_model_has_another_fingerprint_than_its_base(tmp_path: Path, tiny_model: str) -> None:
    import shutil

    from domain_embed_pipeline_tests.training.scenario import encoder_of

    spec = encoder_of(tiny_model).spec
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    assert fingerprinted(spec, weights=folder_digest(str(copy))) == fingerprinted(
        spec, weights=folder_digest(tiny_model)
    )
    change_weights(copy)
    assert fingerprinted(spec, weights=folder_digest(str(copy))) != fingerprinted(
        spec, weights=folder_digest(tiny_model)
    )
