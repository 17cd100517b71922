from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline.ids import pair_id_of
from domain_embed_pipeline.records import HardNegative, TrainingPair
from domain_embed_pipeline.registry.learned import (
    LearnedChunk,
    learned_from_negatives,
    learned_from_pairs,
    read_learned,
    versions_that_learned,
    versions_without_record,
    write_learned,
)
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.registry.test_versions import named
from domain_embed_pipeline_tests.training.scenario import chunk_of

PUMP, VALVE, HOSE = (chunk_of(f"how to mend the {what}", document=f"{what}.md") for what in ("pump", "valve", "hose"))
CHUNKS = (PUMP, VALVE, HOSE)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "vectors")


def save(registry: ModelRegistry, name: str, parent: str | None, learned: tuple[LearnedChunk, ...] | None) -> None:
    manifest = named(name, parent)

    def write(folder: Path):  # noqa: ANN202
        if learned is not None:
            write_learned(folder, learned)
        return manifest

    registry.save(manifest, write=write)


def pair(anchor: str, chunk) -> TrainingPair:  # noqa: ANN001
    return TrainingPair(pair_id_of(anchor, chunk.text), anchor, chunk.text, chunk.chunk_id, "question", "plain")


def negative(anchor: str, positive, other) -> HardNegative:  # noqa: ANN001
    return HardNegative(anchor, positive.text, other.text, positive.chunk_id, other.chunk_id, 3, 0.9, 0.5)


def test_pairs_are_counted_by_chunk_with_the_documents_that_hold_it() -> None:
    learned = learned_from_pairs([pair("a", PUMP), pair("b", PUMP), pair("c", VALVE)], CHUNKS)
    found = {row.document_ids: (row.anchor_count, row.negative_count) for row in learned}
    assert found == {("pump.md",): (2, 0), ("valve.md",): (1, 0)}


def test_a_mined_negative_was_learned_from_too() -> None:
    learned = learned_from_negatives([negative("a", PUMP, HOSE), negative("a", PUMP, VALVE)], CHUNKS)
    found = {row.document_ids: (row.anchor_count, row.negative_count) for row in learned}
    assert found == {("pump.md",): (1, 0), ("hose.md",): (0, 1), ("valve.md",): (0, 1)}


def test_what_was_learned_survives_its_folder(registry: ModelRegistry) -> None:
    learned = learned_from_pairs([pair("a", PUMP)], CHUNKS)
    save(registry, "model-1", None, learned)
    assert read_learned(registry, "model-1") == learned
    assert read_learned(registry, "model-2") is None


def test_a_version_learned_what_its_parents_and_what_it_was_blended_with_learned(registry: ModelRegistry) -> None:
    save(registry, "model-1", None, learned_from_pairs([pair("a", PUMP)], CHUNKS))
    save(registry, "model-2", "model-1", learned_from_pairs([pair("c", VALVE)], CHUNKS))
    save(registry, "model-3", "model-2", None)
    save(registry, "model-other", None, learned_from_pairs([pair("d", HOSE)], CHUNKS))
    learned = {row.model_version: row.through for row in versions_that_learned(registry, document_ids={"pump.md"})}
    assert learned == {"model-1": ("model-1",), "model-2": ("model-1",), "model-3": ("model-1",)}
    (only,) = versions_that_learned(registry, chunk_ids={HOSE.chunk_id})
    assert (only.model_version, only.chunk_ids) == ("model-other", (HOSE.chunk_id,))
    assert versions_that_learned(registry, document_ids={"never-seen.md"}) == ()


def test_a_version_that_nobody_wrote_down_is_named_and_not_taken_for_innocent(registry: ModelRegistry) -> None:
    save(registry, "model-1", None, None)
    save(registry, "model-2", None, ())
    assert versions_without_record(registry) == ("model-1",)
