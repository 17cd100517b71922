"""Versions are complete or not there, and their names cannot leave the folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding.fingerprint import folder_digest
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import DigestMismatchError, ModelVersionNotFoundError, RegistryError
from domain_embed_pipeline.registry.base import base_model_version, register_base_model
from domain_embed_pipeline.registry.judgement import Judgement
from domain_embed_pipeline.registry.manifest import HistoryPoint, ModelVersion, library_versions
from domain_embed_pipeline.registry.model_card import model_card
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.tiny_model import change_weights

SPEC = EncoderSpec("model-1", "fingerprint", 32, 64, "query: ", "passage: ", True, "float32")
VERSION = ModelVersion(
    model_version="model-1",
    kind="stage_one",
    encoder=SPEC,
    base_model="all-MiniLM-L6-v2",
    parent_model_version="base-1",
    row_count=320,
    settings={"epochs": 2.0, "learning_rate": None},
    dev_metrics={"recall_at_5": 0.61},
    created_at="2025-01-02T03:04:05+00:00",
    history=(HistoryPoint(1, 0.1, 3.2, 1e-4, None, None), HistoryPoint(2, 0.2, None, None, 0.5, 0.4)),
    notes=("time_is_up: The time of 1 minutes was up.",),
)


def named(name: str, parent: str | None = None, created_at: str = "2025-01-01T00:00:00+00:00") -> ModelVersion:
    return dataclasses.replace(VERSION, model_version=name, parent_model_version=parent, created_at=created_at)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "vectors")


def test_a_manifest_comes_back_equal(registry: ModelRegistry) -> None:
    assert registry.save(VERSION) == VERSION
    assert registry.manifest("model-1") == VERSION


def test_files_are_written_before_the_version_is_there(registry: ModelRegistry) -> None:
    def write(folder: Path) -> ModelVersion:
        assert not registry.has("model-1")
        (folder / "model.safetensors").write_bytes(b"weights")
        return dataclasses.replace(VERSION, seed=3)

    assert registry.save(VERSION, write=write).seed == 3
    assert (registry.folder("model-1") / "model.safetensors").read_bytes() == b"weights"


def test_a_write_that_fails_leaves_nothing(registry: ModelRegistry) -> None:
    def write(folder: Path) -> ModelVersion:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        registry.save(VERSION, write=write)
    assert not registry.has("model-1")
    assert list(registry.root.iterdir()) == []


def test_the_first_writer_wins(registry: ModelRegistry) -> None:
    registry.save(VERSION)
    assert registry.save(dataclasses.replace(VERSION, seed=99)).seed == 0


def test_a_version_that_is_being_written_is_not_listed(registry: ModelRegistry) -> None:
    registry.save(VERSION)
    staged = registry.root / ".model-2.abc"
    staged.mkdir()
    (staged / "manifest.json").write_text('{"half a', encoding="utf-8")
    assert [version.model_version for version in registry.versions()] == ["model-1"]


def test_what_a_dead_process_left_is_removed_after_a_day(registry: ModelRegistry) -> None:
    registry.root.mkdir()
    old, young = registry.root / ".model-2.old", registry.root / ".model-2.young"
    old.mkdir()
    young.mkdir()
    past = time.time() - 2 * 24 * 3600
    os.utime(old, (past, past))
    registry.save(VERSION)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_folder_without_a_manifest_is_replaced(registry: ModelRegistry) -> None:
    broken = registry.root / "model-1"
    broken.mkdir(parents=True)
    (broken / "leftover").write_text("x", encoding="utf-8")
    registry.save(VERSION)
    assert registry.has("model-1")
    assert not (broken / "leftover").exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "/etc", "..", ".hidden", "", "a..b", "x" * 129, "a\\b", "a\n"])
def test_names_that_could_be_paths_are_refused(registry: ModelRegistry, name: str) -> None:
    for use in (registry.has, registry.manifest, registry.folder):
        with pytest.raises(RegistryError, match="not a model version name"):
            use(name)
    with pytest.raises(RegistryError):
        registry.save(named(name))


def test_an_unknown_version_names_those_there_are(registry: ModelRegistry) -> None:
    registry.save(VERSION)
    with pytest.raises(ModelVersionNotFoundError, match="Use one of: model-1"):
        registry.manifest("model-2")


@pytest.mark.parametrize("text", ["", "[]", '{"model_version": "model-1"}', '{"surprise": 1}'])
def test_a_manifest_that_cannot_be_read_names_its_file(registry: ModelRegistry, text: str) -> None:
    registry.save(VERSION)
    (registry.folder("model-1") / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(RegistryError, match=r"manifest\.json"):
        registry.manifest("model-1")


def test_versions_are_listed_oldest_first(registry: ModelRegistry) -> None:
    registry.save(named("model-b", created_at="2025-03-01T00:00:00+00:00"))
    registry.save(named("model-a", created_at="2025-02-01T00:00:00+00:00"))
    assert [version.model_version for version in registry.versions()] == ["model-a", "model-b"]


def test_parents_are_walked_to_the_base(registry: ModelRegistry) -> None:
    for name, parent in (("base-1", None), ("one", "base-1"), ("two", "one"), ("blend", "two")):
        registry.save(named(name, parent))
    assert registry.parents("blend") == ["two", "one", "base-1"]
    assert registry.parents("base-1") == []


def test_a_parent_that_was_deleted_is_named_and_ends_the_chain(registry: ModelRegistry) -> None:
    registry.save(named("two", "one"))
    assert registry.parents("two") == ["one"]


def test_a_circle_of_parents_ends(registry: ModelRegistry) -> None:
    registry.save(named("one", "two"))
    registry.save(named("two", "one"))
    assert registry.parents("one") == ["two", "one"]


def test_the_base_model_stays_in_its_own_folder(registry: ModelRegistry, tiny_model: str) -> None:
    version = register_base_model(registry, tiny_model)
    assert (version.kind, version.parent_model_version) == ("base", None)
    assert version.model_version.startswith("base-tiny-")
    assert registry.weights_folder(version.model_version) == str(Path(tiny_model).resolve())
    assert (version.encoder.dimension, version.encoder.max_length, version.encoder.normalize) == (32, 64, True)
    assert version.libraries == library_versions()
    assert [path.name for path in registry.folder(version.model_version).iterdir()] == ["manifest.json"]


def test_a_base_model_that_is_known_is_not_loaded_again(
    registry: ModelRegistry, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register_base_model(registry, tiny_model)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr("domain_embed_pipeline.encoding.sentence_transformer.load_model", refuse)
    assert register_base_model(registry, tiny_model) == version


def test_another_maximum_length_is_another_version(registry: ModelRegistry, tiny_model: str) -> None:
    short = register_base_model(registry, tiny_model, max_length=16)
    assert short.encoder.max_length == 16
    assert short.model_version != register_base_model(registry, tiny_model).model_version


def test_changed_files_are_another_base_model(registry: ModelRegistry, tiny_model: str, tmp_path: Path) -> None:
    from domain_embed_pipeline.encoding.base_models import resolve_base_model

    copy = shutil.copytree(tiny_model, tmp_path / "copy" / "tiny")
    assert base_model_version(resolve_base_model(str(copy))) == base_model_version(resolve_base_model(tiny_model))
    change_weights(copy)
    assert base_model_version(resolve_base_model(str(copy))) != base_model_version(resolve_base_model(tiny_model))


def test_a_version_whose_files_changed_is_not_loaded(registry: ModelRegistry, tiny_model: str, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    version = register_base_model(registry, str(copy)).model_version
    assert registry.encoder(version).encode_queries(["how is ask1"]).shape == (1, 32)
    change_weights(copy)
    assert registry.encoder(version).encode_queries(["how is ask1"]).shape == (1, 32), "in the cache"
    with pytest.raises(DigestMismatchError, match="have the fingerprint"):
        registry.encoder(version).encode_queries(["how is ask2"])


def test_the_card_names_base_model_licence_prompts_and_origin() -> None:
    card = model_card(VERSION)
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    for part in (
        "base_model: sentence-transformers/all-MiniLM-L6-v2",
        "license: apache-2.0",
        "320 training rows, dev recall_at_5 0.610",
        "prompt 'query: '",
        "| parent | base-1 |",
    ):
        assert part in card, part


def test_the_card_of_an_unknown_base_model_claims_no_licence() -> None:
    assert "license" not in model_card(dataclasses.replace(VERSION, base_model="in-house"))


# --- judgements and ancestors ---

JUDGEMENT = Judgement(
    verdict="better",
    reason="Recall@5 rose.",
    corpus_version="corpus-1",
    evaluation_set_version="evaluation-1",
    query_count=120,
    retrieval_mode="hybrid",
    certificate_passed=True,
    dense={"recall_at_5": 0.61},
    base_dense={"recall_at_5": 0.45},
    served={"recall_at_5": 0.75},
    base_served={"recall_at_5": 0.69},
    judged_at="2025-01-02T04:00:00+00:00",
)


def test_a_judgement_stands_in_the_manifest_and_on_the_card_and_changes_no_file_of_the_model(
    registry: ModelRegistry,
) -> None:
    def write(folder: Path) -> ModelVersion:
        (folder / "model.safetensors").write_bytes(b"weights")
        return VERSION

    registry.save(VERSION, write=write)
    before = folder_digest(str(registry.folder("model-1")))
    registry.judge("model-1", JUDGEMENT)
    assert registry.manifest("model-1").judgement == JUDGEMENT
    assert dataclasses.replace(registry.manifest("model-1"), judgement=None) == VERSION
    card = (registry.folder("model-1") / "README.md").read_text(encoding="utf-8")
    assert "**better**" in card and "| recall@5 | 0.450 | 0.610 | 0.690 | 0.750 |" in card
    assert folder_digest(str(registry.folder("model-1"))) == before
    assert not [path.name for path in registry.folder("model-1").iterdir() if path.name.startswith(".")]


def test_a_later_judgement_replaces_the_one_before(registry: ModelRegistry) -> None:
    registry.save(VERSION)
    registry.judge("model-1", JUDGEMENT)
    registry.judge("model-1", dataclasses.replace(JUDGEMENT, verdict="worse"))
    judged = registry.manifest("model-1").judgement
    assert judged is not None and judged.verdict == "worse"


def test_the_same_judgement_again_changes_nothing(registry: ModelRegistry) -> None:
    registry.save(VERSION)
    first = registry.judge("model-1", JUDGEMENT)
    assert registry.judge("model-1", dataclasses.replace(JUDGEMENT, judged_at="2030-01-01T00:00:00+00:00")) == first


def test_an_unknown_version_cannot_be_judged(registry: ModelRegistry) -> None:
    with pytest.raises(ModelVersionNotFoundError):
        registry.judge("model-9", JUDGEMENT)


def test_ancestors_are_parents_blends_and_the_members_of_a_mean(registry: ModelRegistry) -> None:
    registry.save(named("base-1"))
    for seed in ("seed-1", "seed-2"):
        registry.save(named(seed, "base-1"))
    registry.save(dataclasses.replace(named("mean", "base-1"), settings={"averaged": ["seed-1", "seed-2"]}))
    registry.save(dataclasses.replace(named("blend", "mean"), settings={"blended_with": "base-1", "tuned_weight": 0.5}))
    assert registry.ancestors("blend") == ["mean", "base-1", "seed-1", "seed-2"]
    assert registry.ancestors("base-1") == []
