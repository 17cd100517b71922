"""How the files of model versions lie: in a folder of this machine, or in a bucket with copies on this machine.

What belongs here: adding, reading and removing versions as a whole. What does not: what a manifest says (`manifest`).

In a folder a version is staged beside its place and renamed. In a bucket its files are uploaded under a new name, and
`manifest.json`, written last, names it as `files`. Either way a version with a manifest is complete.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from domain_embed_pipeline.artifacts import Location, is_abandoned, new_name

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CARD = "README.md"
FILES = "files"
"""Key of the manifest in a bucket: the folder below it that holds the version's files."""
_ABANDONED_AFTER_S = 24 * 3600

Document = Mapping[str, Any]
Write = Callable[[Path], Document]
"""Fills a folder with a version's files and returns its manifest."""


class VersionStorage(Protocol):
    """Where versions are kept. Names are checked by the caller."""

    @property
    def root(self) -> Path | Location:
        """Folder of the versions."""
        ...

    def has(self, name: str) -> bool:
        """Whether the version is complete."""
        ...

    def manifests(self) -> dict[str, str]:
        """Name to manifest of all complete versions."""
        ...

    def manifest(self, name: str) -> str | None:
        """Manifest of a version; None when it is not complete."""
        ...

    def files(self, name: str) -> Path:
        """Folder of this machine with the version's files, fetched if need be."""
        ...

    def read(self, name: str, file: str) -> bytes | None:
        """One file of a version; None when it has none of that name."""
        ...

    def add(self, name: str, write: Write) -> None:
        """Store a version; one that is there already stays."""
        ...

    def annotate(self, name: str, manifest: Document, card: str | None) -> None:
        """Replace the manifest, and the card if there is to be one."""
        ...

    def remove(self, name: str) -> None:
        """Remove a version; killed in between, it is gone as a whole."""
        ...

    def drop_copy(self, name: str) -> bool:
        """Forget a copy that turned out to be spoilt; False when the files are no copy."""
        ...


def text_of(manifest: Document) -> str:
    """A manifest as it is stored."""
    return json.dumps(manifest, indent=1, ensure_ascii=False)


def _files_name(manifest: str | None) -> str | None:
    """Name of the files' folder; None when they lie beside the manifest, or there are none."""
    try:
        files = json.loads(manifest or "{}").get(FILES)
    except (ValueError, AttributeError):
        return None
    return files if isinstance(files, str) and Path(files).name == files else None


def _with_files(manifest: Document, files: str | None) -> Document:
    return {**manifest, FILES: files} if files is not None else manifest


def _content(file: Location) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _replace_file(path: Path, text: str) -> None:
    """All of the new text or all of the old, whenever the process dies."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


def _remove_abandoned(root: Path) -> None:
    """Remove what processes that died left behind, after a day."""
    for folder in root.glob(".*"):
        if _is_old(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_old(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_S
    return False


@contextlib.contextmanager
def _staged(root: Path, name: str) -> Iterator[Path]:
    """An empty folder of this machine, gone afterwards unless it was renamed."""
    _remove_abandoned(root)
    folder = root / f".{name}.{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class FolderStorage:
    """Versions in `<root>/<name>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, name: str) -> bool:
        """Whether the version is complete."""
        return (self.root / name / MANIFEST).is_file()

    def manifests(self) -> dict[str, str]:
        """Name to manifest of all complete versions."""
        # A version that is being written, or was when its process died, lies in a folder that begins with a dot.
        paths = [path for path in self.root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
        return {path.parent.name: path.read_text(encoding="utf-8") for path in paths}

    def manifest(self, name: str) -> str | None:
        """Manifest of a version; None when it is not complete."""
        path = self.root / name / MANIFEST
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def files(self, name: str) -> Path:
        """Folder of the version's files; one that was copied from a bucket has them where its manifest says."""
        return self.root / name / (_files_name(self.manifest(name)) or "")

    def read(self, name: str, file: str) -> bytes | None:
        """One file of a version; None when it has none of that name."""
        path = self.files(name) / file
        return path.read_bytes() if path.is_file() else None

    def add(self, name: str, write: Write) -> None:
        """Store a version; one that is there already stays."""
        with _staged(self.root, name) as staged:
            (staged / MANIFEST).write_text(text_of(write(staged)), encoding="utf-8")
            if not self.has(name):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self.root / name)
                staged.rename(self.root / name)

    def annotate(self, name: str, manifest: Document, card: str | None) -> None:
        """Replace the manifest, and the card if there is to be one."""
        files = _files_name(self.manifest(name))
        _replace_file(self.root / name / MANIFEST, text_of(_with_files(manifest, files)))
        if card is not None:
            _replace_file(self.root / name / (files or "") / CARD, card)

    def remove(self, name: str) -> None:
        """Remove a version; killed in between, it is gone as a whole, and the rest is removed after a day."""
        doomed = self.root / f".{name}.{uuid.uuid4().hex}"
        (self.root / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def drop_copy(self, name: str) -> bool:
        """The files are no copy."""
        return False


class BucketStorage:
    """Versions in `<root>/<name>/`, and copies of their files in `<copies>/<name>/<files>/`.

    Files under one name never change but for the card, so a copy is fetched once.
    """

    def __init__(self, root: Location, copies: Path) -> None:
        self.root = root
        self._copies = copies

    def has(self, name: str) -> bool:
        """Whether the version is complete."""
        return (self.root / name / MANIFEST).is_file()

    def manifests(self) -> dict[str, str]:
        """Name to manifest of all complete versions."""
        found = self.root.read_many([f"{name}/{MANIFEST}" for name in self.root.folders()])
        return {path.partition("/")[0]: data.decode("utf-8") for path, data in found.items()}

    def manifest(self, name: str) -> str | None:
        """Manifest of a version; None when it is not complete."""
        data = _content(self.root / name / MANIFEST)
        return data.decode("utf-8") if data is not None else None

    def files(self, name: str) -> Path:
        """Copy of the version's files, fetched when it is not there; its card is the current one."""
        files = _files_name(self.manifest(name))
        place, copy = self._place(name, files), self._copy(name, files)
        if not copy.is_dir():
            logger.info("Fetching %s from %s", name, self.root)
            with _staged(self._copies, name) as staged:
                place.download(staged)
                self._keep(staged, copy)
        elif (card := _content(place / CARD)) is not None and card != _content(Location(copy / CARD)):
            _replace_file(copy / CARD, card.decode("utf-8"))
        return copy

    def read(self, name: str, file: str) -> bytes | None:
        """One file of a version; None when it has none of that name."""
        return _content(self._place(name, _files_name(self.manifest(name))) / file)

    def add(self, name: str, write: Write) -> None:
        """Store a version; one that is there already stays."""
        with _staged(self._copies, name) as staged:
            manifest = write(staged)
            if self.has(name):
                return
            files = new_name() if any(staged.iterdir()) else None
            if files is not None:
                self._upload(staged, self.root / name / files)
            (self.root / name / MANIFEST).write_text(text_of(_with_files(manifest, files)))
            if files is not None:
                self._keep(staged, self._copy(name, files))
        self._sweep()

    def annotate(self, name: str, manifest: Document, card: str | None) -> None:
        """Replace the manifest, and the card if there is to be one."""
        files = _files_name(self.manifest(name))
        (self.root / name / MANIFEST).write_text(text_of(_with_files(manifest, files)))
        if card is not None:
            (self._place(name, files) / CARD).write_text(card)

    def remove(self, name: str) -> None:
        """Remove a version; killed in between, it is gone as a whole."""
        (self.root / name / MANIFEST).delete()
        (self.root / name).delete()
        self.drop_copy(name)

    def drop_copy(self, name: str) -> bool:
        """Forget a copy that turned out to be spoilt."""
        shutil.rmtree(self._copies / name, ignore_errors=True)
        return True

    def _place(self, name: str, files: str | None) -> Location:
        return self.root / name / files if files else self.root / name

    def _copy(self, name: str, files: str | None) -> Path:
        return self._copies / name / (files or FILES)

    @staticmethod
    def _upload(staged: Path, place: Location) -> None:
        try:
            place.upload(staged)
        except BaseException:
            place.delete()
            raise

    @staticmethod
    def _keep(staged: Path, copy: Path) -> None:
        """Another process may have fetched the same meanwhile."""
        copy.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            staged.rename(copy)
        if not copy.is_dir():
            raise FileNotFoundError(f"{copy} cannot be made from {staged}.")

    def _sweep(self) -> None:
        """Uploads that died go from the bucket after a day, copies of versions that are gone from this machine."""
        try:
            manifests = self.manifests()
            for name in self.root.folders():
                used = _files_name(manifests.get(name))
                for files in (self.root / name).folders():
                    if files != used and is_abandoned(files):
                        (self.root / name / files).delete()
        except OSError as problem:
            logger.warning("Abandoned uploads in %s cannot be deleted: %s", self.root, problem)
            return
        for folder in self._copies.glob("[!.]*"):
            if folder.name not in manifests and _is_old(folder):
                shutil.rmtree(folder, ignore_errors=True)
