"""Finding and opening the files of a corpus, on any fsspec file system.

What belongs here: what is a document by its name, place and size. What does not: what is in it (`readers/`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.errors import CorpusSourceError, UnreadableDocumentError

DOCUMENT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".html", ".htm", ".pdf", ".docx"})
READY_SUFFIXES = frozenset({".jsonl", ".parquet"})
_LITTER = ("~$", ".~", "Thumbs.db", "desktop.ini")
_BEIR_COMPANIONS = frozenset({"queries.jsonl", "questions.jsonl"})
"""Beside a corpus.jsonl these hold what is asked, not what is found."""


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

    @property
    def suffix(self) -> str:
        """Lower-case extension with its dot."""
        return os.path.splitext(self.document_id)[1].lower()  # noqa: PTH122 - the path may be a URL's

    def open(self) -> IO[bytes]:
        """The file's bytes.

        Raises:
            UnreadableDocumentError: `vanished` or `unreadable`.
        """
        try:
            return self.filesystem.open(self.path, "rb")
        except FileNotFoundError as error:
            raise UnreadableDocumentError("vanished", "it was listed and is gone") from error
        except OSError as error:
            raise UnreadableDocumentError("unreadable", str(error)) from error

    def read(self) -> bytes:
        """All bytes of the file; errors as for `open`."""
        try:
            with self.open() as file:
                return file.read()
        except FileNotFoundError as error:
            raise UnreadableDocumentError("vanished", "it was listed and is gone") from error
        except OSError as error:
            raise UnreadableDocumentError("unreadable", str(error)) from error


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
        name = root.rstrip("/").rpartition("/")[2]
        return [SourceFile(name, root, filesystem.size(root) or 0, filesystem)]
    is_local = "file" in ((filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol)
    found = _local_files(Path(root), filesystem) if is_local else _remote_files(root, filesystem)
    files = sorted(
        (file for file in found if _is_wanted(file.document_id, settings)), key=lambda file: file.document_id
    )
    return _without_companions(files)


def _local_files(root: Path, filesystem: Any) -> Iterator[SourceFile]:
    """Files under a local folder. Links are followed within it, once; others are set aside."""
    real_root = root.resolve()
    for folder, subfolders, names in os.walk(root):
        for name in [*names, *(each for each in subfolders if (Path(folder) / each).is_symlink())]:
            path = Path(folder) / name
            document_id = path.relative_to(root).as_posix()
            problem = _link_problem(path, real_root) if path.is_symlink() else None
            if problem is None and not path.is_file():
                problem = UnreadableDocumentError("unreadable", "a linked folder; it is read where it lies")
            size = 0
            if problem is None:
                try:
                    size = path.stat().st_size
                except OSError as error:
                    problem = UnreadableDocumentError("vanished", str(error))
            yield SourceFile(document_id, str(path), size, filesystem, problem)


def _link_problem(path: Path, root: Path) -> UnreadableDocumentError | None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        return UnreadableDocumentError("symlink_loop", f"the link leads nowhere: {error}")
    if not target.is_relative_to(root):
        return UnreadableDocumentError("symlink_outside", f"the link leads out of the corpus, to {target}")
    if target.is_dir() and path.parent.resolve().is_relative_to(target):
        return UnreadableDocumentError("symlink_loop", f"the link leads back to {target}")
    return None


def _remote_files(root: str, filesystem: Any) -> Iterator[SourceFile]:
    for path, entry in filesystem.find(root, detail=True).items():
        document_id = path[len(root) :].lstrip("/")
        yield SourceFile(document_id, path, int(entry.get("size") or 0), filesystem)


def _is_wanted(document_id: str, settings: CorpusSettings) -> bool:
    parts = document_id.split("/")
    if parts[-1].startswith(_LITTER) or parts[-1] == ".DS_Store":
        return False
    return settings.read_hidden or not any(part.startswith(".") for part in parts)


def _without_companions(files: list[SourceFile]) -> list[SourceFile]:
    """Files less the queries, questions and judgments that lie beside a BEIR corpus."""
    folders = {_folder(file) for file in files if file.document_id.rpartition("/")[2] == "corpus.jsonl"}
    return [
        file
        for file in files
        if not (
            (_folder(file) in folders and file.document_id.rpartition("/")[2] in _BEIR_COMPANIONS)
            or (file.suffix == ".tsv" and _folder(file).removesuffix("qrels").rstrip("/") in folders)
        )
    ]


def _folder(file: SourceFile) -> str:
    return file.document_id.rpartition("/")[0]
