"""One contract for versions in a folder and in a bucket: a version is complete or not there, wherever one asks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.artifacts import Location, new_name
from domain_embed_pipeline.corpus.erasures import ErasureList
from domain_embed_pipeline.drops.indexed import IndexedState, IndexedStore
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.errors import BaseModelNotFoundError, DigestMismatchError, ModelVersionNotFoundError
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.learned import LearnedChunk, read_learned, write_learned
from domain_embed_pipeline.registry.lineage import LineageLog
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.storage import BucketStorage
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.places import KINDS, URLS, empty_place
from domain_embed_pipeline_tests.registry.test_lineage import record
from domain_embed_pipeline_tests.registry.test_versions import JUDGEMENT, SPEC, VERSION, named

LEARNED = (LearnedChunk("chunk-1", ("pump.md",), 2, 0),)


@dataclasses.dataclass(frozen=True)
class Machines:
    """Machines that share one place for artifacts and nothing else."""

    place: str
    folder: Path

    def registry(self, machine: str = "first", **more: Any) -> ModelRegistry:
        return ModelRegistry(f"{self.place}/models", vectors_folder=self.folder / machine / "vectors", **more)

    @property
    def models(self) -> Location:
        return Location(self.place) / "models"


@pytest.fixture(params=KINDS)
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Machines:
    return Machines(empty_place(request.param, tmp_path, request), tmp_path)


@pytest.fixture(params=URLS)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Machines:
    return Machines(empty_place(request.param, tmp_path, request), tmp_path)


def write_model(folder: Path, *, weights: bytes = b"weights", version: ModelVersion = VERSION) -> ModelVersion:
    """Files as a training leaves them, and their manifest."""
    (folder / "1_Pooling").mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "1_Pooling" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "README.md").write_text("a card", encoding="utf-8")
    write_learned(folder, LEARNED)
    spec = dataclasses.replace(SPEC, model_version=version.model_version)
    return dataclasses.replace(version, encoder=fingerprinted(spec, weights=folder_digest(str(folder))))


def test_a_version_is_loaded_on_another_machine_with_all_its_files(machines: Machines) -> None:
    saved = machines.registry().save(VERSION, write=write_model)
    other = machines.registry("second")
    assert other.manifest("model-1") == saved
    assert other.versions() == [saved]
    assert read_learned(other, "model-1") == LEARNED
    folder = Path(other.verified_folder("model-1"))
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert (folder / "1_Pooling" / "config.json").is_file()


def test_reading_what_a_version_is_and_learned_fetches_no_weights(remote: Machines) -> None:
    remote.registry().save(VERSION, write=write_model)
    other = remote.registry("second")
    assert other.has("model-1") and other.versions() and read_learned(other, "model-1") and other.parents("model-1")
    assert not (remote.folder / "second" / "models").exists()


def test_a_version_is_fetched_once(remote: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.registry().save(VERSION, write=write_model)
    first = remote.registry("second").verified_folder("model-1")

    def refuse(self: Location, folder: Path) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr(Location, "download", refuse)
    assert remote.registry("second").verified_folder("model-1") == first
    assert Path(remote.registry("first").verified_folder("model-1")).is_dir(), "its maker has it already"


def test_the_first_writer_wins(machines: Machines) -> None:
    saved = machines.registry().save(VERSION, write=write_model)
    second = machines.registry("second").save(VERSION, write=lambda folder: write_model(folder, weights=b"others"))
    assert second == saved
    assert (
        Path(machines.registry("second").verified_folder("model-1")) / "model.safetensors"
    ).read_bytes() == b"weights"


def test_a_write_that_fails_leaves_nothing(machines: Machines) -> None:
    def write(folder: Path) -> ModelVersion:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        machines.registry().save(VERSION, write=write)
    assert not machines.registry().has("model-1")
    assert machines.models.files() == []


def test_an_upload_that_breaks_off_is_no_version_and_is_done_again(
    remote: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Location.upload

    def break_off(self: Location, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        upload(self, folder)
        raise ConnectionError("reset by peer")

    with monkeypatch.context() as patched:
        patched.setattr(Location, "upload", break_off)
        with pytest.raises(ConnectionError):
            remote.registry().save(VERSION, write=write_model)
    assert remote.registry("second").versions() == []
    with pytest.raises(ModelVersionNotFoundError):
        remote.registry("second").manifest("model-1")
    remote.registry().save(VERSION, write=write_model)
    assert remote.registry("second").verified_folder("model-1")


def test_a_kill_between_files_and_manifest_leaves_no_version(remote: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Location, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Location, "write_text", die)
        with pytest.raises(KeyboardInterrupt):
            remote.registry().save(VERSION, write=write_model)
    assert remote.models.files()
    assert (remote.registry().has("model-1"), remote.registry("second").versions()) == (False, [])
    remote.registry("second").save(VERSION, write=write_model)
    assert remote.registry("third").verified_folder("model-1")


def test_dead_uploads_go_after_a_day_and_not_before(remote: Machines) -> None:
    dead, young = "20200101T000000-0123456789ab", new_name()
    for name in (dead, young):
        (remote.models / "model-2" / name / "model.safetensors").write_bytes(b"half")
    remote.registry().save(VERSION, write=write_model)
    assert (remote.models / "model-2").folders() == [young]
    assert remote.registry("second").verified_folder("model-1")


def test_two_machines_that_save_the_same_version_leave_one_that_fits_its_manifest(remote: Machines) -> None:
    """Training is not the same to the last bit everywhere, so the files of the two must not be mixed."""

    def save(number: int) -> ModelVersion:
        registry = remote.registry(f"machine-{number}")
        return registry.save(VERSION, write=lambda folder: write_model(folder, weights=b"%d" % number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    assert remote.registry("other").verified_folder("model-1")


def test_a_spoilt_copy_is_fetched_again(remote: Machines) -> None:
    registry = remote.registry()
    registry.save(VERSION, write=write_model)
    (Path(registry.verified_folder("model-1")) / "model.safetensors").write_bytes(b"spoilt")
    assert (Path(registry.verified_folder("model-1")) / "model.safetensors").read_bytes() == b"weights"


def test_files_that_changed_in_the_bucket_are_refused(remote: Machines) -> None:
    remote.registry().save(VERSION, write=write_model)
    (files,) = (remote.models / "model-1").folders()
    (remote.models / "model-1" / files / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(DigestMismatchError):
        remote.registry("second").verified_folder("model-1")


def test_a_judgement_is_seen_everywhere_and_the_copies_have_the_new_card(machines: Machines) -> None:
    machines.registry().save(VERSION, write=write_model)
    other = machines.registry("second")
    before = other.verified_folder("model-1")
    machines.registry().judge("model-1", JUDGEMENT)
    assert other.manifest("model-1").judgement == JUDGEMENT
    assert other.verified_folder("model-1") == before
    assert "**better**" in (Path(before) / "README.md").read_text(encoding="utf-8")


def test_a_version_that_had_no_card_gets_one_with_its_judgement(machines: Machines) -> None:
    def write(folder: Path) -> ModelVersion:
        version = write_model(folder)
        (folder / "README.md").unlink()
        return version

    machines.registry().save(VERSION, write=write)
    folder = Path(machines.registry("second").verified_folder("model-1"))
    machines.registry().judge("model-1", JUDGEMENT)
    assert machines.registry("second").verified_folder("model-1") == str(folder)
    assert "**better**" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_deleted_version_is_gone_everywhere(machines: Machines) -> None:
    registry = machines.registry()
    for name in ("model-1", "model-2"):
        version = named(name)
        registry.save(version, write=lambda folder, version=version: write_model(folder, version=version))
    registry.delete("model-1")
    other = machines.registry("second")
    assert [version.model_version for version in other.versions()] == ["model-2"]
    assert not any(name.startswith("model-1/") for name in machines.models.files())
    assert other.verified_folder("model-2")


def test_a_deletion_that_was_killed_half_way_leaves_no_version(
    remote: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.registry().save(VERSION, write=write_model)
    delete = Location.delete

    def die(self: Location) -> None:
        if not str(self).endswith("manifest.json"):
            raise KeyboardInterrupt
        delete(self)

    with monkeypatch.context() as patched:
        patched.setattr(Location, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            remote.registry().delete("model-1")
    assert remote.registry("second").versions() == []


def test_a_registry_moves_by_copying_its_files_either_way(remote: Machines) -> None:
    local = ModelRegistry(remote.folder / "models", vectors_folder=remote.folder / "vectors")
    saved = local.save(VERSION, write=write_model)
    remote.models.upload(remote.folder / "models")
    moved = remote.registry()
    assert moved.manifest("model-1") == saved
    assert Path(moved.verified_folder("model-1"), "model.safetensors").read_bytes() == b"weights"
    assert read_learned(moved, "model-1") == LEARNED
    moved.judge("model-1", JUDGEMENT)
    version = named("model-2")
    moved.save(version, write=lambda folder: write_model(folder, version=version))
    remote.models.download(remote.folder / "back")
    back = ModelRegistry(remote.folder / "back", vectors_folder=remote.folder / "vectors")
    assert back.verified_folder("model-1") and back.verified_folder("model-2")
    assert back.judge("model-2", JUDGEMENT).judgement == JUDGEMENT
    assert back.verified_folder("model-2")
    assert read_learned(back, "model-2") == LEARNED


@pytest.mark.parametrize("files", ["../../secret", "/etc", "a/b", 7])
def test_a_manifest_cannot_lead_out_of_its_version(remote: Machines, files: object) -> None:
    remote.registry().save(VERSION, write=write_model)
    manifest = json.loads((remote.models / "model-1" / "manifest.json").read_text())
    (remote.models / "model-1" / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
    folder = BucketStorage(remote.models, remote.folder / "copies").files("model-1")
    assert folder == remote.folder / "copies" / "model-1" / "files"


def test_a_base_model_is_found_on_a_machine_that_has_it_elsewhere(machines: Machines, tiny_model: str) -> None:
    first = machines.folder / "here" / "tiny"
    shutil.copytree(tiny_model, first)
    version = register_base_model(machines.registry(), str(first)).model_version
    second = machines.folder / "there" / "tiny"
    second.parent.mkdir()
    first.rename(second)
    registry = machines.registry("second", base_model=str(second))
    assert register_base_model(registry, str(second)).model_version == version
    assert registry.verified_folder(version) == str(second.resolve())
    with pytest.raises(BaseModelNotFoundError):
        machines.registry("third").verified_folder(version)


# --- what lies beside the models ---


def test_the_lineage_of_all_machines_is_read_in_order(machines: Machines) -> None:
    for number in range(3):
        record(LineageLog(Location(machines.place) / "lineage.jsonl"), "documents", number)
    record(LineageLog(f"{machines.place}/lineage.jsonl"), "other", 3)
    events = LineageLog(Location(machines.place) / "lineage.jsonl").events("documents")
    assert [event.model_version for event in events] == ["model-0", "model-1", "model-2"]


def test_many_writers_lose_no_event(remote: Machines) -> None:
    log = LineageLog(f"{remote.place}/lineage.jsonl")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: record(log, "documents", number), range(12)))
    assert sorted(int(event.model_version[6:]) for event in log.events()) == list(range(12))


def test_a_lineage_that_was_copied_to_a_bucket_goes_on_there(remote: Machines) -> None:
    record(LineageLog(remote.folder / "old" / "lineage.jsonl"), "documents", 0)
    Location(remote.place).upload(remote.folder / "old")
    log = LineageLog(f"{remote.place}/lineage.jsonl")
    record(log, "documents", 1)
    assert [event.model_version for event in log.events()] == ["model-0", "model-1"]


def test_erasures_are_seen_from_everywhere(machines: Machines) -> None:
    place = Location(machines.place) / "erasures.jsonl"
    assert ErasureList(place).entries() == ()
    ErasureList(place).add("pump.md", "digest", "asked for")
    ErasureList(place).add("valve.md", None, "")
    assert [entry.document_id for entry in ErasureList(str(place)).entries()] == ["pump.md", "valve.md"]
    assert ErasureList(place).lift("pump.md")
    assert [entry.document_id for entry in ErasureList(place).entries()] == ["valve.md"]


def test_what_is_indexed_is_seen_from_everywhere(machines: Machines) -> None:
    place = Location(machines.place) / "drops" / "indexed.json"
    assert IndexedStore(place).load() is None
    IndexedStore(place).save(IndexedState("digest", "corpus-1", "documents__1"))
    found = IndexedStore(str(place)).load()
    assert found is not None and (found.files_digest, found.collection) == ("digest", "documents__1")
