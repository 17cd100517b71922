"""Model versions: a manifest each, and a folder that plain `SentenceTransformer(path)` loads.

What belongs here: saving, finding and walking versions. What does not: what a manifest says (`manifest`), how files lie
(`storage`).

A version that is there is complete (see `storage`). The base model has a manifest too, which points at its own folder.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.engines.choosing import LARGE_PART, load_with_engine
from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.encoding.hardware import may_have_gpu
from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec
from domain_embed_pipeline.encoding.vector_cache import ENCODE_SIZE, GPU_ENCODE_SIZE, CachedEncoder, VectorCache
from domain_embed_pipeline.errors import DigestMismatchError, ModelVersionNotFoundError, RegistryError
from domain_embed_pipeline.registry.judgement import Judgement
from domain_embed_pipeline.registry.manifest import ModelVersion, manifest_from
from domain_embed_pipeline.registry.model_card import model_card
from domain_embed_pipeline.registry.storage import BucketStorage, FolderStorage, VersionStorage

_VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ModelRegistry:
    """The model versions, and the vector caches that belong to them.

    Args:
        root: Where versions are kept, a folder or a URL.
        vectors_folder: Folder of this machine for cached vectors.
        engine: Where many texts are encoded.
        copies_folder: Folder of this machine for versions that are fetched from a URL; `models` beside the vectors when
            not given.
        base_model: Name under which this machine may have a base model that was registered on another one.
    """

    def __init__(
        self,
        root: str | Path | Location,
        *,
        vectors_folder: str | Path,
        engine: EngineSettings | None = None,
        copies_folder: str | Path | None = None,
        base_model: str | None = None,
    ) -> None:
        self._engine = engine or EngineSettings()
        self._vectors_folder = Path(vectors_folder)
        self._base_model = base_model
        location, copies = Location(root), Path(copies_folder or self._vectors_folder.parent / "models")
        self._storage: VersionStorage = (
            BucketStorage(location, copies) if location.is_remote else FolderStorage(location.path)
        )
        self.root = self._storage.root

    def folder(self, model_version: str) -> Path:
        """Folder of a version's files on this machine; in a folder of versions, whether it exists or not.

        Raises:
            RegistryError: If the name could leave the registry's folder.
        """
        return self._storage.files(_checked(model_version))

    def has(self, model_version: str) -> bool:
        """Whether the version is complete."""
        return self._storage.has(_checked(model_version))

    def manifest(self, model_version: str) -> ModelVersion:
        """The version's manifest.

        Raises:
            ModelVersionNotFoundError: If there is no such version.
        """
        text = self._storage.manifest(_checked(model_version))
        if text is None:
            known = ", ".join(version.model_version for version in self.versions()) or "none"
            raise ModelVersionNotFoundError(
                f"No model version {model_version!r} in {self.root}.", fix=f"Use one of: {known}."
            )
        return manifest_from(text, self.root / model_version)

    def versions(self) -> list[ModelVersion]:
        """All versions, oldest first."""
        found = [manifest_from(text, self.root / name) for name, text in self._storage.manifests().items()]
        return sorted(found, key=lambda version: (version.created_at, version.model_version))

    def read(self, model_version: str, file: str) -> bytes | None:
        """One file of a version, without the others; None when it has none of that name."""
        return self._storage.read(_checked(model_version), file)

    def weights_folder(self, model_version: str) -> str:
        """Folder that `SentenceTransformer(path)` loads.

        Raises:
            BaseModelNotFoundError: If it is a base model that was registered elsewhere and is not on this machine.
        """
        manifest = self.manifest(model_version)
        if manifest.weights_folder is None:
            return str(self.folder(model_version))
        if Path(manifest.weights_folder).is_dir():
            return manifest.weights_folder
        return resolve_base_model(self._base_model or manifest.base_model).folder

    def verified_folder(self, model_version: str) -> str:
        """The weights folder, after its files were found to be those that the manifest was written for.

        Raises:
            DigestMismatchError: If they have changed: cached vectors and collections would not fit them.
        """
        expected = self.manifest(model_version).encoder.fingerprint
        folder, actual = self._fingerprinted_folder(model_version)
        if actual != expected and self._storage.drop_copy(model_version):
            folder, actual = self._fingerprinted_folder(model_version)
        if actual != expected:
            raise DigestMismatchError(
                f"The files of {model_version} in {folder} have the fingerprint {actual}, its manifest has {expected}.",
                fix="Put the files back, or name the folder as a base model anew: it becomes a version of its own.",
            )
        return folder

    def _fingerprinted_folder(self, model_version: str) -> tuple[str, str]:
        folder = self.weights_folder(model_version)
        spec = self.manifest(model_version).encoder
        return folder, fingerprinted(spec, weights=folder_digest(folder)).fingerprint

    def save(self, manifest: ModelVersion, *, write: Callable[[Path], ModelVersion] | None = None) -> ModelVersion:
        """Store a version; `write` fills the staged folder with the model's files and completes the manifest.

        The first writer wins: a version is named by its content, so a second one would be the same.
        """

        def write_files(folder: Path) -> dict[str, Any]:
            """The manifest, completed by whoever wrote the files."""
            return dataclasses.asdict(write(folder) if write is not None else manifest)

        self._storage.add(_checked(manifest.model_version), write_files)
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
        self._storage.remove(model_version)
        if all(other.encoder.fingerprint != fingerprint for other in self.versions()):
            for path in self._vectors_folder.glob(f"{fingerprint}.sqlite*"):
                path.unlink(missing_ok=True)

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
        before = self.manifest(model_version)
        known = before.judgement
        if known is not None and dataclasses.replace(judgement, judged_at=known.judged_at) == known:
            return before
        manifest = dataclasses.replace(before, judgement=judgement)
        card = model_card(manifest) if manifest.kind != "base" else None
        self._storage.annotate(model_version, dataclasses.asdict(manifest), card)
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


def _checked(model_version: str) -> str:
    if not _VERSION_NAME.fullmatch(model_version) or ".." in model_version:
        raise RegistryError(
            f"{model_version!r} is not a model version name.", fix="Use a name that `domain-embed models` lists."
        )
    return model_version
