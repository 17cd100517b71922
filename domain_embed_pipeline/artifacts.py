"""Where a deployment's artifacts lie: a local folder, or a bucket behind any fsspec URL (`s3://`, `gs://`, `abfs://`).

What belongs here: reading, replacing and listing files in either place. What does not: what the files mean.

A folder and a bucket have the same layout, so a deployment moves by copying its files. They differ in how a change is
made whole. In a folder, files are staged beside their place and renamed. A bucket has no rename, but replaces one
object as a whole. So whatever is more than one object is uploaded under a new name, and one small JSON document that is
written last says which name counts: `record.json` for tables, `manifest.json` for model versions. Half an upload is
named by nothing, and a reader of the old document finds the old files. What is named no more goes with a later write,
what died half uploaded after a day.

In the bucket lie the tables, reports, model versions, lineage, erasures, the frozen evaluation set, and what the drop
sensor knows. On each machine (`DOMAIN_EMBED_LOCAL_PATH`) lies what cannot lie in a bucket or need not be shared:
checkpoints of a training that runs, cached vectors, fetched model versions, lock files, measured latencies; and the
ledger and the vector store while they are embedded ones, which other machines then do not see. All but those two may be
deleted while nothing runs.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.registry import known_implementations

from domain_embed_pipeline.errors import ConfigurationError, MissingDependencyError

_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"})
"""Protocols whose stores replace an object as a whole; in all others files are renamed."""
_NEW_NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")
_ABANDONED_AFTER = datetime.timedelta(days=1)


def is_url(place: str | Path | Location) -> bool:
    """Whether a place is a URL rather than a path of this machine."""
    return "://" in str(place)


def new_name() -> str:
    """A name that nobody has used; it tells when it was made."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"


def is_abandoned(name: str, *, now: datetime.datetime | None = None) -> bool:
    """Whether `new_name` made it more than a day ago: its writer is done or dead."""
    if not _NEW_NAME.fullmatch(name):
        return False
    made = datetime.datetime.strptime(name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
    return (now or datetime.datetime.now(datetime.UTC)) - made > _ABANDONED_AFTER


class Location:
    """A file or folder by path or URL. Files are read as a whole and replaced as a whole."""

    def __init__(self, place: str | Path | Location) -> None:
        text = str(place)
        scheme, separator, rest = text.partition("://")
        self._place = f"{scheme}://{rest.rstrip('/')}" if separator else text

    def __str__(self) -> str:
        return self._place

    def __repr__(self) -> str:
        return f"Location({self._place!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self._place}/{name}" if self.is_remote else Path(self._place) / name)

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return is_url(self._place)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self._place.rpartition("/")[2] if self.is_remote else Path(self._place).name

    @property
    def parent(self) -> Location:
        """Folder that it is in."""
        return Location(self._place.rpartition("/")[0] if self.is_remote else Path(self._place).parent)

    @property
    def address(self) -> str:
        """What a person opens: the URL, or the absolute path."""
        return self._place if self.is_remote else str(Path(self._place).resolve())

    @property
    def path(self) -> Path:
        """The path of a place on this machine.

        Raises:
            ConfigurationError: If it is a URL.
        """
        if self.is_remote:
            raise ConfigurationError(f"{self._place} is no folder of this machine.", fix="Name a local folder here.")
        return Path(self._place)

    def is_file(self) -> bool:
        """Whether a file is there."""
        filesystem, path = self._opened()
        return filesystem.isfile(path)

    def read_bytes(self) -> bytes:
        """Content of the file.

        Raises:
            FileNotFoundError: If there is none.
        """
        filesystem, path = self._opened()
        return filesystem.cat_file(path)

    def read_text(self) -> str:
        """Content of the file, as UTF-8.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self.read_bytes().decode("utf-8")

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents of files below, by name; names that are not there are left out."""
        filesystem, root = self._opened()
        paths = {f"{root}/{name}": name for name in names}
        found = filesystem.cat(list(paths), on_error="return") if paths else {}
        problems = [value for value in found.values() if isinstance(value, BaseException)]
        for problem in problems:
            if not isinstance(problem, FileNotFoundError):
                raise problem
        return {name: found[path] for path, name in paths.items() if isinstance(found.get(path), bytes)}

    def open_to_read(self) -> IO[bytes]:
        """The file; one behind a URL is fetched in one request."""
        return io.BytesIO(self.read_bytes()) if self.is_remote else self.path.open("rb")

    @contextlib.contextmanager
    def open_to_write(self) -> Iterator[IO[bytes]]:
        """A new file, under a name that nothing points at yet: a kill may leave a part of it."""
        filesystem, path = self._opened()
        _make_parents(filesystem, path)
        with filesystem.open(path, "wb") as file:
            yield file

    def write_bytes(self, data: bytes) -> None:
        """Replace the file: whenever the process dies, the old content or the new one is there."""
        filesystem, path = self._opened()
        if _is_bucket(filesystem):
            filesystem.pipe_file(path, data)
            return
        _make_parents(filesystem, path)
        folder, _, name = path.rpartition("/")
        staged = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            with filesystem.open(staged, "wb") as file:
                file.write(data)
                _to_disk(file)
            filesystem.mv(staged, path)
        finally:
            if filesystem.exists(staged):
                filesystem.rm_file(staged)

    def write_text(self, text: str) -> None:
        """Replace the file by a text in UTF-8, as `write_bytes` does."""
        self.write_bytes(text.encode("utf-8"))

    def files(self) -> list[str]:
        """Names of all files below, relative to here, sorted; none when nothing is there."""
        filesystem, path = self._opened()
        if not _is_bucket(filesystem) and not filesystem.isdir(path):
            return []
        start = f"{path.rstrip('/')}/"
        names = (name[len(start) :] for name in filesystem.find(path) if name.startswith(start))
        return sorted(name for name in names if name and not name.endswith("/"))

    def folders(self) -> list[str]:
        """Names of the folders right below, sorted; none when nothing is there."""
        filesystem, path = self._opened()
        try:
            entries = filesystem.ls(path, detail=True)
        except FileNotFoundError:
            return []
        names = (entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory")
        return sorted(names)

    def delete(self) -> None:
        """Delete the file, or the folder with all that is in it; nothing happens when nothing is there."""
        filesystem, path = self._opened()
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm(path, recursive=True)

    def upload(self, folder: Path) -> None:
        """Copy all files of a local folder to here."""
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        filesystem, root = self._opened()
        targets = [f"{root}/{name}" for name in names]
        for target in targets:
            _make_parents(filesystem, target)
        if names:
            filesystem.put([str(folder / name) for name in names], targets)

    def download(self, folder: Path) -> None:
        """Copy all files from here into a local folder."""
        names = self.files()
        filesystem, root = self._opened()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if names:
            filesystem.get([f"{root}/{name}" for name in names], [str(folder / name) for name in names])

    def _opened(self) -> tuple[Any, str]:
        """File system, and the path within it. What another process has changed meanwhile is seen."""
        try:
            filesystem, path = fsspec.core.url_to_fs(self._place)
        except ImportError as error:
            raise _missing_package(self._place, error) from error
        except ValueError as error:
            raise ConfigurationError(
                f"{self._place} cannot be opened: {error}", fix="Check DOMAIN_EMBED_ARTIFACTS_PATH."
            ) from error
        filesystem.invalidate_cache()
        return filesystem, path


def _missing_package(place: str, error: ImportError) -> MissingDependencyError:
    entry = known_implementations.get(place.partition("://")[0], {})
    package = entry.get("class", "fsspec").partition(".")[0]
    named = f"pip install {package}." if package != "fsspec" else "Install the package that this names."
    return MissingDependencyError(f"{place} cannot be opened: {error}.", fix=named)


def _is_bucket(filesystem: Any) -> bool:
    protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    return not _BUCKETS.isdisjoint(protocols)


def _make_parents(filesystem: Any, path: str) -> None:
    """Folders above a file. A bucket has none, and asking for some may make a bucket."""
    if not _is_bucket(filesystem):
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)


def _to_disk(file: Any) -> None:
    file.flush()
    with contextlib.suppress(OSError, AttributeError, ValueError):
        os.fsync(file.fileno())
