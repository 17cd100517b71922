"""Model versions on disk: `<root>/<model version>/` with safetensors and `manifest.json`.

A version is staged beside its place and renamed, so a folder that is there is complete. Each is loadable with plain
`SentenceTransformer(path)`. The base model has a manifest too, which points at its own folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Literal

from domain_embed_pipeline.encoding.engines.choosing import LARGE_PART, load_with_engine
from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.encoding.hardware import may_have_gpu
from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec
from domain_embed_pipeline.encoding.vector_cache import ENCODE_SIZE, GPU_ENCODE_SIZE, CachedEncoder, VectorCache
from domain_embed_pipeline.errors import DigestMismatchError, ModelVersionNotFoundError, RegistryError
from domain_embed_pipeline.registry.judgement import Judgement
from domain_embed_pipeline.tables import from_plain

ModelKind = Literal["base", "stage_one", "stage_two", "blend"]
LIBRARIES = ("sentence-transformers", "transformers", "torch", "datasets", "numpy")
_ABANDONED_AFTER_S = 24 * 3600
_VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """What was seen at one step of training: loss and learning rate, or dev retrieval."""

    step: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    dev_recall_at_5: float | None
    dev_ndcg_at_10: float | None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Manifest of a model version: what it is and what it was made from."""

    model_version: str
    kind: ModelKind
    encoder: EncoderSpec
    base_model: str
    parent_model_version: str | None
    """The version whose weights training started from; None for a base model."""
    weights_folder: str | None = None
    """Where the files are when not in the version's own folder (base models)."""
    corpus_version: str | None = None
    pairs_version: str | None = None
    evaluation_set_version: str | None = None
    row_count: int = 0
    """Training rows of the stage that made it."""
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the stage, and what the rule made of them."""
    dev_metrics: dict[str, float] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    duration_s: float = 0.0
    history: tuple[HistoryPoint, ...] = ()
    notes: tuple[str, ...] = ()
    """What was noticed in training, such as why it stopped early; each begins with a stable name and a colon."""
    judgement: Judgement | None = None
    """The last comparison with the base; the one thing that is written after the version was."""

    @property
    def made_from(self) -> tuple[str, ...]:
        """The versions whose weights went into it: its parent, what it was blended with, what it is the mean of."""
        blended = self.settings.get("blended_with")
        averaged = self.settings.get("averaged") or ()
        names = (self.parent_model_version, blended, *averaged)
        return tuple(dict.fromkeys(name for name in names if name is not None and name != self.model_version))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what training gives."""
    return {name: package_version(name) for name in LIBRARIES}


def _read_manifest(path: Path) -> ModelVersion:
    try:
        return from_plain(ModelVersion, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(
            f"{path} is not a manifest that this version of the package reads: {error}",
            fix=f"Use the version that wrote it, or remove the folder {path.parent}.",
        ) from error


def _manifest_text(manifest: ModelVersion) -> str:
    return json.dumps(dataclasses.asdict(manifest), indent=1, ensure_ascii=False)


def _replace_file(path: Path, text: str) -> None:
    """All of the new text or all of the old, whenever the process dies."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


class ModelRegistry:
    """The folder of model versions and the vector caches that belong to them."""

    def __init__(self, root: str | Path, *, vectors_folder: str | Path, engine: EngineSettings | None = None) -> None:
        self.root = Path(root)
        self._engine = engine or EngineSettings()
        self._vectors_folder = Path(vectors_folder)

    def folder(self, model_version: str) -> Path:
        """Folder of a version's manifest, whether it exists or not.

        Raises:
            RegistryError: If the name could leave the registry's folder.
        """
        if not _VERSION_NAME.fullmatch(model_version) or ".." in model_version:
            raise RegistryError(
                f"{model_version!r} is not a model version name.", fix="Use a name that `domain-embed models` lists."
            )
        return self.root / model_version

    def has(self, model_version: str) -> bool:
        """Whether the version is complete."""
        return (self.folder(model_version) / "manifest.json").is_file()

    def manifest(self, model_version: str) -> ModelVersion:
        """The version's manifest.

        Raises:
            ModelVersionNotFoundError: If there is no such version.
        """
        path = self.folder(model_version) / "manifest.json"
        if not path.is_file():
            known = ", ".join(version.model_version for version in self.versions()) or "none"
            raise ModelVersionNotFoundError(
                f"No model version {model_version!r} in {self.root}.", fix=f"Use one of: {known}."
            )
        return _read_manifest(path)

    def versions(self) -> list[ModelVersion]:
        """All versions, oldest first."""
        # A version that is being written, or was when its process died, lies in a folder that begins with a dot.
        paths = [path for path in self.root.glob("*/manifest.json") if not path.parent.name.startswith(".")]
        found = [_read_manifest(path) for path in paths]
        return sorted(found, key=lambda version: (version.created_at, version.model_version))

    def weights_folder(self, model_version: str) -> str:
        """Folder that `SentenceTransformer(path)` loads."""
        return self.manifest(model_version).weights_folder or str(self.folder(model_version))

    def verified_folder(self, model_version: str) -> str:
        """The weights folder, after its files were found to be those that the manifest was written for.

        Raises:
            DigestMismatchError: If they have changed: cached vectors and collections would not fit them.
        """
        manifest = self.manifest(model_version)
        folder = manifest.weights_folder or str(self.folder(model_version))
        expected = manifest.encoder.fingerprint
        actual = fingerprinted(manifest.encoder, weights=folder_digest(folder)).fingerprint
        if actual != expected:
            raise DigestMismatchError(
                f"The files of {model_version} in {folder} have the fingerprint {actual}, its manifest has {expected}.",
                fix="Put the files back, or name the folder as a base model anew: it becomes a version of its own.",
            )
        return folder

    def save(self, manifest: ModelVersion, *, write: Callable[[Path], ModelVersion] | None = None) -> ModelVersion:
        """Store a version; `write` fills the staged folder with the model's files and completes the manifest.

        The first writer wins: a version is named by its content, so a second one would be the same.
        """
        target = self.folder(manifest.model_version)
        self._remove_abandoned()
        staged = self.root / f".{manifest.model_version}.{uuid.uuid4().hex}"
        staged.mkdir(parents=True)
        try:
            if write is not None:
                manifest = write(staged)
            (staged / "manifest.json").write_text(_manifest_text(manifest), encoding="utf-8")
            if not self.has(manifest.model_version):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target)
                staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return self.manifest(manifest.model_version)

    def delete(self, model_version: str) -> None:
        """Delete a version and its cached vectors. Who may be deleted is decided in `retention`.

        Raises:
            ModelVersionNotFoundError: If there is no such version.
            RegistryError: If it is a base model, whose files are not ours.
        """
        manifest = self.manifest(model_version)
        if manifest.kind == "base":
            raise RegistryError(f"{model_version} is a base model.", fix="Delete only versions that were trained here.")
        fingerprint = manifest.encoder.fingerprint
        doomed = self.root / f".{model_version}.{uuid.uuid4().hex}"
        # Renamed first: killed in between, the version is gone as a whole, and the rest is removed after a day.
        self.folder(model_version).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        if all(other.encoder.fingerprint != fingerprint for other in self.versions()):
            for path in self._vectors_folder.glob(f"{fingerprint}.sqlite*"):
                path.unlink(missing_ok=True)

    def _remove_abandoned(self) -> None:
        """Remove what processes that died left behind, after a day."""
        for folder in self.root.glob(".*"):
            if time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)

    def parents(self, model_version: str) -> list[str]:
        """Chain of parents, nearest first, ending with the base model."""
        chain: list[str] = []
        parent = self.manifest(model_version).parent_model_version
        while parent is not None and parent not in chain:
            chain.append(parent)
            parent = self.manifest(parent).parent_model_version if self.has(parent) else None
        return chain

    def ancestors(self, model_version: str) -> list[str]:
        """Every version that its weights were made from, directly or not, nearest first."""
        found: list[str] = []
        waiting = [model_version]
        while waiting:
            name = waiting.pop(0)
            for source in self.manifest(name).made_from if self.has(name) else ():
                if source not in found and source != model_version:
                    found.append(source)
                    waiting.append(source)
        return found

    def judge(self, model_version: str, judgement: Judgement) -> ModelVersion:
        """Put a judgement into the version's manifest and on its card; another one before it is replaced.

        Raises:
            ModelVersionNotFoundError: If there is no such version.
        """
        from domain_embed_pipeline.registry.model_card import model_card

        before = self.manifest(model_version)
        known = before.judgement
        if known is not None and dataclasses.replace(judgement, judged_at=known.judged_at) == known:
            return before
        manifest = dataclasses.replace(before, judgement=judgement)
        folder = self.folder(model_version)
        _replace_file(folder / "manifest.json", _manifest_text(manifest))
        if manifest.kind != "base":
            _replace_file(folder / "README.md", model_card(manifest))
        return manifest

    def vector_cache(self, spec: EncoderSpec) -> VectorCache:
        """Cache of the vectors of one encoder."""
        return VectorCache(self._vectors_folder, spec)

    def encoder(self, model_version: str) -> CachedEncoder:
        """Encoder of a version through its cache; weights are loaded only when a text is not in the cache."""
        manifest = self.manifest(model_version)

        def load() -> Encoder:
            """The encoder itself, loaded at the first text that the cache does not hold."""
            return load_with_engine(self.verified_folder(model_version), manifest.encoder, self._engine)

        cache = self.vector_cache(manifest.encoder)
        return CachedEncoder(manifest.encoder, load=load, cache=cache, part_size=self._part_size())

    def _part_size(self) -> int:
        if self._engine.engine != "process":
            return LARGE_PART
        return GPU_ENCODE_SIZE if may_have_gpu() else ENCODE_SIZE
