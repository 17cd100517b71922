from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.errors import RegistryError
from domain_embed_pipeline.registry.retention import prune_versions
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.registry.test_versions import named

NOW = datetime.datetime(2025, 6, 30, tzinfo=datetime.UTC)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    registry = ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "vectors")
    registry.save(dataclasses.replace(named("base-1"), kind="base", weights_folder="/elsewhere"))
    for run in range(1, 6):
        train(registry, run)
    return registry


def train(registry: ModelRegistry, run: int, created_at: str | None = None) -> None:
    """Three versions of one run: stage one, stage two, a blend."""
    parents = {"one": "base-1", "two": f"one-{run}", "blend": f"two-{run}"}
    for name, parent in parents.items():
        version = named(f"{name}-{run}", parent, created_at or f"2025-06-0{run}T00:00:00+00:00")
        spec = dataclasses.replace(version.encoder, model_version=version.model_version, fingerprint=f"fp{name}{run}")
        settings = {"blended_with": "base-1", "tuned_weight": 0.5} if name == "blend" else {}
        registry.save(dataclasses.replace(version, encoder=spec, corpus_version=f"corpus-{run}", settings=settings))


def names(registry: ModelRegistry) -> set[str]:
    return {version.model_version for version in registry.versions()}


def of_runs(*runs: int) -> set[str]:
    return {"base-1", *(f"{name}-{run}" for run in runs for name in ("one", "two", "blend"))}


def test_the_newest_trainings_stay_whole_and_older_ones_go(registry: ModelRegistry) -> None:
    deleted = prune_versions(registry, protected=(), keep=2, now=NOW)
    assert set(deleted) == of_runs(1, 2) - {"base-1"}
    assert names(registry) == of_runs(3, 4, 5)


def test_what_serves_stays_with_every_ancestor_whatever_its_age(registry: ModelRegistry) -> None:
    prune_versions(registry, protected={"two-1"}, keep=0, now=NOW)
    assert names(registry) == of_runs(5) | {"one-1", "two-1"}


def test_a_version_that_was_trained_from_an_old_one_keeps_it(registry: ModelRegistry) -> None:
    registry.save(dataclasses.replace(named("continued", "two-1", "2025-06-09T00:00:00+00:00"), corpus_version="new"))
    prune_versions(registry, protected=(), keep=0, now=NOW)
    assert names(registry) == {"base-1", "continued", "two-1", "one-1"}


def test_what_a_run_has_just_made_stays(registry: ModelRegistry) -> None:
    train(registry, 6, created_at="2025-06-29T23:00:00+00:00")
    train(registry, 7, created_at="2025-06-29T23:30:00+00:00")
    prune_versions(registry, protected=(), keep=0, now=NOW)
    assert names(registry) == of_runs(6, 7)


def test_vectors_of_a_deleted_version_go_with_it_and_no_others(registry: ModelRegistry, tmp_path: Path) -> None:
    for version in registry.versions():
        registry.vector_cache(version.encoder).put([b"0123456789abcdef"], np.ones((1, 32), dtype=np.float32))
    prune_versions(registry, protected=(), keep=0, now=NOW)
    left = {path.name.partition(".")[0] for path in (tmp_path / "vectors").iterdir()}
    assert left == {"fingerprint", "fpone5", "fptwo5", "fpblend5"}


def test_a_base_model_is_never_deleted(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="base model"):
        registry.delete("base-1")


def test_a_second_pruning_deletes_nothing(registry: ModelRegistry) -> None:
    prune_versions(registry, protected=(), keep=1, now=NOW)
    assert prune_versions(registry, protected=(), keep=1, now=NOW) == ()


def test_a_negative_number_to_keep_is_refused(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="negative"):
        prune_versions(registry, protected=(), keep=-1, now=NOW)


def test_a_deletion_that_was_cut_short_leaves_no_version_behind(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **named: None)
    registry.delete("blend-1")
    assert "blend-1" not in names(registry)
