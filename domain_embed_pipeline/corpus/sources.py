"""Finding and opening the files of a corpus, on any fsspec file system.

What belongs here: what is a document by its name, place and size. What does not: what is in it (`readers/`).
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.errors import CorpusSourceError, UnreadableDocumentError

logger = logging.getLogger(__name__)

DOCUMENT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".html", ".htm", ".pdf", ".docx"})
READY_SUFFIXES = frozenset({".jsonl", ".parquet"})
FORMATS = ", ".join(sorted(DOCUMENT_SUFFIXES | READY_SUFFIXES))
_LITTER_STARTS = ("~$", ".~")
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_DIGEST_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "md5", "checksum")
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
# Beside a corpus.jsonl these hold what is asked, not what is found: as chunks they would leak every test query.
_BEIR_COMPANIONS = frozenset({"queries.jsonl", "questions.jsonl"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that may be a document."""

    document_id: str
    """Path within the location, with forward slashes."""
    path: str
    byte_count: int
    filesystem: Any
    problem: UnreadableDocumentError | None = None
    """Why it is set aside unread."""
    revision: str = ""
    """Another one whenever the file may have changed: size and times, or what the store tells instead."""
    modified: float = 0.0
    """Time of its last change in seconds since 1970; 0 where the store does not tell."""
    store_digest: str = ""
    """The store's own digest of the contents, where it has one."""

    @property
    def suffix(self) -> str:
        """Lower-case extension with its dot."""
        return PurePosixPath(self.document_id).suffix.lower()

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file's bytes, closed afterwards.

        Raises:
            UnreadableDocumentError: `vanished` or `unreadable`, also for what goes wrong while it is open.
            CorpusSourceError: If the store behind it does not answer: a corpus that lacks what could not be fetched
                would pass for one from which documents were deleted.
        """
        try:
            with self.filesystem.open(self.path, "rb") as file:
                yield file
        except FileNotFoundError as error:
            raise UnreadableDocumentError("vanished", "it was listed and is gone") from error
        except (ConnectionError, TimeoutError) as error:
            raise CorpusSourceError(
                f"{self.path} cannot be fetched: {error}", fix="Run again when the store answers."
            ) from error
        except OSError as error:
            raise UnreadableDocumentError("unreadable", error.strerror or str(error)) from error

    def read(self, *, most_bytes: int) -> bytes:
        """All bytes of the file, of which no more than the limit are read.

        Raises:
            UnreadableDocumentError: `too_large`, or as for `opened`.
        """
        if self.byte_count > most_bytes:
            raise UnreadableDocumentError("too_large", f"{self.byte_count} bytes, over the limit of {most_bytes}")
        with self.opened() as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise UnreadableDocumentError("too_large", f"grew over the limit of {most_bytes} bytes while being read")
        return data


def list_files(location: str, *, settings: CorpusSettings) -> list[SourceFile]:
    """Files of one location (a folder or a file), sorted by document id.

    Raises:
        CorpusSourceError: If the location does not exist or cannot be listed.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(location)
        is_folder, exists = filesystem.isdir(root), filesystem.exists(root)
    except (ValueError, ImportError, OSError) as error:
        raise CorpusSourceError(
            f"The corpus location {location!r} cannot be opened: {error}", fix="Check DOMAIN_EMBED_CORPUS_PATH."
        ) from error
    if not exists:
        raise CorpusSourceError(
            f"The corpus location {location!r} does not exist.",
            fix="Set DOMAIN_EMBED_CORPUS_PATH to a folder or file of documents.",
        )
    if not is_folder:
        return [_entry_file(_portable(PurePosixPath(root).name), filesystem.info(root), filesystem)]
    is_local = "file" in ((filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol)
    found = _local_files(Path(root), filesystem, settings) if is_local else _remote_files(root, filesystem, settings)
    return _without_companions(sorted(found, key=lambda file: file.document_id))


def _local_files(root: Path, filesystem: Any, settings: CorpusSettings) -> Iterator[SourceFile]:
    """Files under a local folder. A link to a folder is not followed: what lies within is read where it lies."""
    real_root = root.resolve()
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            problem = UnreadableDocumentError("unreadable", f"the folder cannot be listed: {error.strerror}")
            yield SourceFile(_document_id(folder, root), folder, 0, filesystem, problem)
            continue
        for entry in entries:
            if not _is_wanted(entry.name, settings):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            try:
                status = _checked_status(entry, real_root)
            except UnreadableDocumentError as problem:
                yield SourceFile(_document_id(entry.path, root), entry.path, 0, filesystem, problem)
            else:
                if status is not None:
                    yield _local_file(_document_id(entry.path, root), entry.path, filesystem, status)


def _local_file(document_id: str, path: str, filesystem: Any, status: os.stat_result) -> SourceFile:
    # The time of change of the inode shows a file that was replaced by one of the same size and time.
    revision = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
    return SourceFile(document_id, path, status.st_size, filesystem, revision=revision, modified=status.st_mtime)


def _entry_file(document_id: str, entry: Mapping[str, Any], filesystem: Any) -> SourceFile:
    """A file as its store lists it; stores spell the same things differently."""
    size = int(entry.get("size") or 0)
    digest = next((str(entry[key]) for key in _DIGEST_KEYS if entry.get(key)), "")
    times = [entry[key] for key in _TIME_KEYS if entry.get(key)]
    revision = "-".join(str(part) for part in (size, digest, *times) if part != "")
    return SourceFile(
        document_id,
        entry["name"],
        size,
        filesystem,
        revision=revision,
        modified=_seconds_of(times[0]) if times else 0.0,
        store_digest=digest,
    )


def _seconds_of(time: Any) -> float:
    if isinstance(time, int | float):
        return float(time)
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return 0.0
    return time.timestamp() if isinstance(time, datetime) else 0.0


def _checked_status(entry: os.DirEntry[str], real_root: Path) -> os.stat_result | None:
    """Size and times of a file; None for a link to a folder that is listed anyway.

    Raises:
        UnreadableDocumentError: `symlink_loop`, `symlink_outside`, `vanished`, `unsupported` or `unreadable`.
    """
    try:
        if entry.is_symlink():
            target = Path(entry.path).resolve(strict=True)
            if not target.is_relative_to(real_root):
                raise UnreadableDocumentError("symlink_outside", f"the link leads out of the corpus, to {target}")
            if target.is_dir():
                return _linked_folder(Path(entry.path), target)
        status = entry.stat()
    except FileNotFoundError as error:
        reason = "broken_symlink" if entry.is_symlink() else "vanished"
        raise UnreadableDocumentError(reason, "there is nothing at its path") from error
    except (OSError, RuntimeError) as error:
        # Path.resolve reports a loop as RuntimeError up to Python 3.12 and as ELOOP from 3.13 on.
        is_loop = isinstance(error, RuntimeError) or error.errno == errno.ELOOP
        raise UnreadableDocumentError("symlink_loop" if is_loop else "unreadable", str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableDocumentError("unsupported", "a pipe, socket or device, not a file")
    return status


def _linked_folder(link: Path, target: Path) -> None:
    if link.parent.resolve().is_relative_to(target):
        raise UnreadableDocumentError("symlink_loop", f"the link leads back to {target}")
    logger.debug("%s is a link to %s, which is read where it lies", link, target)


def _remote_files(root: str, filesystem: Any, settings: CorpusSettings) -> Iterator[SourceFile]:
    prefix = root.rstrip("/") + "/"
    # A process that lives on would otherwise see the listing of its first look for ever.
    filesystem.invalidate_cache(root)
    for path, entry in filesystem.find(root, detail=True).items():
        document_id = path.removeprefix(prefix)
        if all(_is_wanted(part, settings) for part in document_id.split("/")):
            yield _entry_file(_portable(document_id), {**entry, "name": path}, filesystem)


def _document_id(path: str, root: Path) -> str:
    # Cut as a string: with 100,000 files, path objects took most of the time of a listing.
    return _portable(path[len(str(root)) :].lstrip(os.sep).replace(os.sep, "/"))


def _portable(path: str) -> str:
    """The same id on every machine: macOS stores decomposed names, and a Linux name may be no UTF-8 at all."""
    if path.isascii():
        return path
    return unicodedata.normalize("NFC", os.fsencode(path).decode("utf-8", "replace"))


def _is_wanted(name: str, settings: CorpusSettings) -> bool:
    if name in _LITTER or name.startswith(_LITTER_STARTS):
        return False
    return settings.read_hidden or not name.startswith(".")


def _without_companions(files: list[SourceFile]) -> list[SourceFile]:
    """Files less what lies beside a BEIR corpus: queries, questions, judgments, and in a whole BEIR set all others."""
    corpora = {_folder(file) for file in files if _name(file) == "corpus.jsonl"}
    if not corpora:
        return files
    whole_sets = {_folder(file) for file in files if _name(file) == "queries.jsonl"} & corpora
    others = [file for file in files if not _is_companion(file, corpora)]
    kept = [file for file in others if not _is_beside_set(file, whole_sets)]
    if len(others) < len(files):
        logger.info(
            "%d files beside a corpus.jsonl hold queries or judgments and are no documents", len(files) - len(others)
        )
    if len(kept) < len(others):
        kept_ids = {file.document_id for file in kept}
        logger.warning(
            "%d files beside the corpus.jsonl of a BEIR set are not read, such as %s: the set is one corpus. Move "
            "documents that belong to it elsewhere, and name their folder.",
            len(others) - len(kept),
            next(file.document_id for file in others if file.document_id not in kept_ids),
        )
    return kept


def _is_companion(file: SourceFile, corpora: set[str]) -> bool:
    path = PurePosixPath(file.document_id)
    if path.name in _BEIR_COMPANIONS:
        return _folder(file) in corpora
    return path.suffix == ".tsv" and path.parent.name == "qrels" and str(path.parent.parent) in corpora


def _is_beside_set(file: SourceFile, whole_sets: set[str]) -> bool:
    """Whether it lies in the folder of a whole set or under it, and is not its corpus."""
    if not whole_sets or (_name(file) == "corpus.jsonl" and _folder(file) in whole_sets):
        return False
    return any(str(folder) in whole_sets for folder in PurePosixPath(file.document_id).parents)


def _name(file: SourceFile) -> str:
    return file.document_id.rpartition("/")[2]


def _folder(file: SourceFile) -> str:
    return str(PurePosixPath(file.document_id).parent)
