"""Stages as versions of the registry: found again, traced, chosen on dev."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain_embed_pipeline.errors import TrainingError
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.learned import read_learned, versions_that_learned
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.training.negatives import HardNegatives, mine_hard_negatives
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings
from domain_embed_pipeline.training.stages import (
    TrainingInputs,
    choose_finetuned,
    train_stage_one,
    train_stage_two,
)
from domain_embed_pipeline_tests.tiny_model import change_weights
from domain_embed_pipeline_tests.training.scenario import QUICK, planted

CORPUS, PAIRS, QUERIES = planted()
ONE_STEP = dataclasses.replace(QUICK, max_steps=1)
MINING = MiningSettings(relative_margin=0.0, exclude_same_document=False, last_rank=20)


def inputs_in(folder: Path, base_model: str) -> TrainingInputs:
    registry = ModelRegistry(folder / "models", vectors_folder=folder / "vectors")
    return TrainingInputs(
        registry=registry,
        base=register_base_model(registry, base_model),
        corpus=CORPUS,
        evaluation_set=QUERIES,
        clusters={},
        pairs_version="pairs-test",
        certificate={"digest": "certificate-test", "passed": True},
        checkpoints=folder / "checkpoints",
    )


def mine(inputs: TrainingInputs, version: ModelVersion) -> HardNegatives:
    encoder = inputs.registry.encoder(version.model_version)
    return mine_hard_negatives(encoder, CORPUS, PAIRS, clusters={}, settings=MINING)


@pytest.fixture(scope="module")
def inputs(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    return inputs_in(tmp_path_factory.mktemp("stages"), tiny_model)


@pytest.fixture(scope="module")
def stage_one(inputs: TrainingInputs) -> ModelVersion:
    return train_stage_one(inputs, PAIRS, settings=dataclasses.replace(QUICK, epochs=1))


@pytest.fixture(scope="module")
def stage_two(inputs: TrainingInputs, stage_one: ModelVersion) -> ModelVersion:
    settings = dataclasses.replace(QUICK, epochs=1, learning_rate=3e-3)
    return train_stage_two(inputs, stage_one, mine(inputs, stage_one), settings=settings)


def test_the_manifest_says_what_a_stage_was_made_from(inputs: TrainingInputs, stage_one: ModelVersion) -> None:
    assert (stage_one.kind, stage_one.parent_model_version) == ("stage_one", inputs.base.model_version)
    assert (stage_one.corpus_version, stage_one.pairs_version) == (CORPUS.corpus_version, "pairs-test")
    assert stage_one.certificate == {"digest": "certificate-test", "passed": True}
    assert stage_one.evaluation_set_version == QUERIES.evaluation_set_version
    assert (stage_one.row_count, stage_one.seed) == (320, 42)
    assert stage_one.settings["learning_rate"] == 5e-3
    assert stage_one.settings["total_steps"] == 10
    assert stage_one.dev_metrics["recall_at_5"] > 0
    assert len(stage_one.history) == 13
    assert stage_one.encoder.fingerprint not in ("", inputs.base.encoder.fingerprint)


def test_a_stage_writes_down_what_it_learned_from(
    inputs: TrainingInputs, stage_one: ModelVersion, stage_two: ModelVersion
) -> None:
    first = read_learned(inputs.registry, stage_one.model_version)
    assert first is not None
    assert {row.chunk_id for row in first} == {pair.chunk_id for pair in PAIRS}
    assert sum(row.anchor_count for row in first) == len(PAIRS)
    second = read_learned(inputs.registry, stage_two.model_version)
    assert second is not None and any(row.negative_count for row in second)
    document = next(chunk for chunk in CORPUS.chunks if chunk.chunk_id == PAIRS[0].chunk_id).document_id
    learned = versions_that_learned(inputs.registry, document_ids={document})
    assert {stage_one.model_version, stage_two.model_version} <= {row.model_version for row in learned}


def test_a_stage_that_is_in_the_registry_is_not_trained_again(
    inputs: TrainingInputs, stage_one: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        again = train_stage_one(inputs, PAIRS, settings=dataclasses.replace(QUICK, epochs=1))
    assert again == stage_one
    assert "nothing is trained" in caplog.text
    assert not inputs.checkpoints.exists() or list(inputs.checkpoints.iterdir()) == []


def test_another_machine_gives_the_same_version_the_same_vectors(
    inputs: TrainingInputs, stage_one: ModelVersion, tiny_model: str, tmp_path: Path
) -> None:
    elsewhere = inputs_in(tmp_path, tiny_model)
    again = train_stage_one(elsewhere, PAIRS, settings=dataclasses.replace(QUICK, epochs=1))
    assert again.model_version == stage_one.model_version
    assert again.encoder == stage_one.encoder


def version_with(inputs: TrainingInputs, settings=ONE_STEP, pairs=PAIRS) -> str:  # noqa: ANN001
    return train_stage_one(inputs, pairs, settings=settings).model_version


@pytest.mark.parametrize(
    "change",
    [
        {"clusters": {CORPUS.chunks[0].chunk_id: "one", CORPUS.chunks[1].chunk_id: "one"}},
        {"pool_size": 100},
        {"evaluation_set": dataclasses.replace(QUERIES, evaluation_set_version="evaluation-other")},
        {"corpus": dataclasses.replace(CORPUS, corpus_version="corpus-other")},
    ],
    ids=["clusters", "pool", "dev queries", "corpus"],
)
def test_what_changes_the_weights_or_the_choice_changes_the_version(inputs: TrainingInputs, change: dict) -> None:
    assert version_with(inputs) != version_with(dataclasses.replace(inputs, **change))


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"seed": 7}, {"scale": 10.0}])
def test_every_setting_changes_the_version(inputs: TrainingInputs, change: dict) -> None:
    assert version_with(inputs) != version_with(inputs, dataclasses.replace(ONE_STEP, **change))


def test_one_pair_less_is_another_version_and_the_name_of_the_pairs_is_not(inputs: TrainingInputs) -> None:
    assert version_with(inputs) != version_with(inputs, pairs=PAIRS[:-1])
    assert version_with(inputs) == version_with(dataclasses.replace(inputs, pairs_version="pairs-renamed"))


def test_stage_two_starts_from_stage_one(
    inputs: TrainingInputs, stage_one: ModelVersion, stage_two: ModelVersion
) -> None:
    assert stage_two.kind == "stage_two"
    assert inputs.registry.parents(stage_two.model_version) == [stage_one.model_version, inputs.base.model_version]
    assert stage_two.history[0].dev_recall_at_5 == pytest.approx(stage_one.dev_metrics["recall_at_5"])
    assert stage_two.dev_metrics["recall_at_5"] > stage_one.dev_metrics["recall_at_5"]


def test_the_candidate_is_chosen_among_base_stages_and_blends(
    inputs: TrainingInputs, stage_one: ModelVersion, stage_two: ModelVersion
) -> None:
    result = choose_finetuned(inputs, [stage_one, stage_two], settings=CandidateSettings(blend_weights=(0.5, 0.9)))
    assert [row.kind for row in result.contenders] == ["base", "stage_one", "stage_two", "blend", "blend"]
    assert [row.model_version for row in result.contenders if row.chosen] == [result.version.model_version]
    assert result.version.model_version == stage_two.model_version
    assert "dev Recall@5" in result.reason
    blend = inputs.registry.manifest(result.contenders[3].model_version)
    assert blend.parent_model_version == stage_two.model_version
    assert blend.settings == {"tuned_weight": 0.5, "blended_with": inputs.base.model_version}


def test_blends_are_made_once(inputs: TrainingInputs, stage_one: ModelVersion) -> None:
    settings = CandidateSettings(blend_weights=(0.25,))
    first = choose_finetuned(inputs, [stage_one], settings=settings)
    before = {version.model_version: version.created_at for version in inputs.registry.versions()}
    assert choose_finetuned(inputs, [stage_one], settings=settings) == first
    assert {version.model_version: version.created_at for version in inputs.registry.versions()} == before


def test_a_stage_that_learned_nothing_leaves_the_base_in_place(inputs: TrainingInputs) -> None:
    stage = train_stage_one(inputs, PAIRS, settings=dataclasses.replace(QUICK, learning_rate=1e-9))
    assert stage.notes[0].startswith("loss_is_flat")
    result = choose_finetuned(inputs, [stage], settings=CandidateSettings(blend_weights=()))
    assert result.version.kind == "base"


def test_without_dev_queries_the_last_stage_is_taken(inputs: TrainingInputs, stage_one: ModelVersion) -> None:
    blind = dataclasses.replace(inputs, evaluation_set=dataclasses.replace(QUERIES, queries=(), qrels=()))
    result = choose_finetuned(blind, [stage_one], settings=CandidateSettings())
    assert result.version == stage_one
    assert "no dev queries" in result.reason


def test_a_saved_model_gives_the_vectors_it_gave_in_memory(
    inputs: TrainingInputs, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    from domain_embed_pipeline.training import stages

    kept: list[SentenceTransformer] = []
    save = stages._save

    def keep(registry: ModelRegistry, model: SentenceTransformer, manifest: ModelVersion, *rest: Any) -> ModelVersion:
        kept.append(model)
        return save(registry, model, manifest, *rest)

    monkeypatch.setattr(stages, "_save", keep)
    version = train_stage_one(inputs_in(tmp_path, tiny_model), PAIRS, settings=QUICK)
    texts = [pair.anchor for pair in PAIRS[:20]]
    loaded = SentenceTransformer(str(tmp_path / "models" / version.model_version), device="cpu")
    assert (loaded.encode(texts) == kept[0].encode(texts)).all()
    encoder = inputs_in(tmp_path, tiny_model).registry.encoder(version.model_version)
    assert np.allclose(encoder.encode_queries(texts), loaded.encode(texts), atol=0.02)  # bfloat16 on some machines


def test_the_model_card_quotes_no_training_text(inputs: TrainingInputs, stage_one: ModelVersion) -> None:
    folder = inputs.registry.folder(stage_one.model_version)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert stage_one.model_version in card
    assert "320 training rows" in card
    assert "ask1" not in card
    assert "tell1" not in card


def test_a_stage_can_go_on_from_the_live_version(inputs: TrainingInputs, stage_one: ModelVersion) -> None:
    warm = train_stage_one(inputs, PAIRS, settings=ONE_STEP, start=stage_one)
    cold = train_stage_one(inputs, PAIRS, settings=ONE_STEP)
    assert warm.model_version != cold.model_version
    assert inputs.registry.parents(warm.model_version) == [stage_one.model_version, inputs.base.model_version]
    assert warm.history[0].dev_recall_at_5 == pytest.approx(stage_one.dev_metrics["recall_at_5"])
    assert warm.dev_metrics["recall_at_5"] > cold.dev_metrics["recall_at_5"]


@pytest.mark.parametrize("change", ["base_model", "prompt"])
def test_a_version_of_another_base_model_cannot_be_gone_on_from(
    inputs: TrainingInputs, stage_one: ModelVersion, change: str
) -> None:
    if change == "base_model":
        other = dataclasses.replace(stage_one, base_model="e5-base-v2")
    else:
        other = dataclasses.replace(stage_one, encoder=dataclasses.replace(stage_one.encoder, query_prompt="query: "))
    with pytest.raises(TrainingError, match="is a version of"):
        train_stage_one(inputs, PAIRS, settings=ONE_STEP, start=other)


@pytest.mark.slow
def test_averaged_seeds_are_the_mean_of_one_version_each(inputs: TrainingInputs) -> None:
    from domain_embed_pipeline.encoding.sentence_transformer import load_model

    settings = dataclasses.replace(QUICK, epochs=1, averaged_seeds=3)
    averaged = train_stage_one(inputs, PAIRS, settings=settings)
    members = averaged.settings["averaged"]
    assert [inputs.registry.manifest(member).seed for member in members] == [42, 43, 44]
    states = [
        load_model(inputs.registry.weights_folder(name)).state_dict() for name in (averaged.model_version, *members)
    ]
    for name, value in states[0].items():
        assert value.allclose(sum(state[name] for state in states[1:]) / 3, atol=1e-6), name
    assert (averaged.kind, averaged.parent_model_version) == ("stage_one", inputs.base.model_version)
    assert averaged.dev_metrics.keys() == {"recall_at_5", "ndcg_at_10"}
    assert train_stage_one(inputs, PAIRS, settings=settings) == averaged


def test_a_guide_with_other_files_is_another_version(inputs: TrainingInputs, tiny_model: str, tmp_path: Path) -> None:
    guide = shutil.copytree(tiny_model, tmp_path / "guide")
    settings = dataclasses.replace(ONE_STEP, guide_model=str(guide))
    before = version_with(inputs, settings)
    change_weights(guide)
    assert version_with(inputs, settings) != before
