from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import fsspec
import pytest

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.sources import SourceFile, list_files
from domain_embed_pipeline.errors import CorpusSourceError, UnreadableDocumentError

SETTINGS = CorpusSettings()


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text", encoding="utf-8")


def listed(location: Path | str, settings: CorpusSettings = SETTINGS) -> dict[str, str | None]:
    """`document id -> reason for which it is set aside`, in the order of the listing."""
    return {
        file.document_id: file.problem.reason if file.problem else None
        for file in list_files(str(location), settings=settings)
    }


def test_files_are_listed_by_their_path_within_the_folder_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.txt", "a/b/c.pdf")
    assert list(listed(tmp_path)) == ["a/b/c.pdf", "a/z.txt", "b.md"]


def test_hidden_files_lock_files_and_litter_are_no_documents(tmp_path: Path) -> None:
    write(tmp_path, "a.md", ".hidden.md", ".git/config.md", "~$a.docx", ".DS_Store", "Thumbs.db")
    assert list(listed(tmp_path)) == ["a.md"]


def test_hidden_files_are_read_on_request_and_litter_still_not(tmp_path: Path) -> None:
    write(tmp_path, ".hidden.md", ".notes/a.md", ".DS_Store")
    assert list(listed(tmp_path, CorpusSettings(read_hidden=True))) == [".hidden.md", ".notes/a.md"]


def test_a_location_may_be_one_file(tmp_path: Path) -> None:
    write(tmp_path, "corpus.jsonl", "other.md")
    assert list(listed(tmp_path / "corpus.jsonl")) == ["corpus.jsonl"]


def test_a_location_may_be_any_file_system_and_gives_the_same_ids(tmp_path: Path) -> None:
    folder = f"/{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    names = ["a/b.md", "c.txt", ".hidden.md"]
    for name in names:
        memory.pipe(f"{folder}/{name}", b"text")
    write(tmp_path, *names)
    assert listed(f"memory:/{folder}") == listed(tmp_path) == {"a/b.md": None, "c.txt": None}
    assert list_files(f"memory:/{folder}", settings=SETTINGS)[0].read(most_bytes=10) == b"text"


@pytest.mark.parametrize("location", ["/no/such/folder", "nosuchprotocol://x/y"])
def test_a_location_that_does_not_exist_is_named(location: str) -> None:
    with pytest.raises(CorpusSourceError, match=location):
        list_files(location, settings=SETTINGS)


def test_links_that_loop_lead_out_or_lead_nowhere_are_set_aside(tmp_path: Path) -> None:
    write(tmp_path, "corpus/a.md", "elsewhere/secret.md")
    root = tmp_path / "corpus"
    (root / "self.md").symlink_to(root / "self.md")
    (root / "up").symlink_to(root)
    (root / "out.md").symlink_to(tmp_path / "elsewhere" / "secret.md")
    (root / "outside").symlink_to(tmp_path / "elsewhere")
    (root / "broken.md").symlink_to(root / "gone.md")
    assert listed(root) == {
        "a.md": None,
        "broken.md": "broken_symlink",
        "out.md": "symlink_outside",
        "outside": "symlink_outside",
        "self.md": "symlink_loop",
        "up": "symlink_loop",
    }


def test_a_link_within_the_folder_is_read_and_a_linked_folder_only_once(tmp_path: Path) -> None:
    write(tmp_path, "real/a.md", "..data/b.md")
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "b.md").symlink_to(tmp_path / "..data" / "b.md")  # As Kubernetes mounts a ConfigMap.
    assert listed(tmp_path) == {"b.md": None, "real/a.md": None}


def test_a_pipe_or_socket_is_set_aside_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # A socket's path has at most 108 bytes.
    os.mkfifo("pipe.txt")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.md")
        assert listed(tmp_path) == {"pipe.txt": "unsupported", "socket.md": "unsupported"}


def test_a_decomposed_or_undecodable_name_gives_a_portable_id(tmp_path: Path) -> None:
    (tmp_path / "Mu\u0308ller.md").write_text("text", encoding="utf-8")
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff.md")).write_text("text", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert list(listed(tmp_path)) == ["Müller.md", "\ufffd.md"]
    assert all(file.read(most_bytes=10) == b"text" for file in list_files(str(tmp_path), settings=SETTINGS))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_set_aside(tmp_path: Path) -> None:
    write(tmp_path, "secret.md", "locked/a.md")
    (tmp_path / "secret.md").chmod(0)
    (tmp_path / "locked").chmod(0)
    try:
        assert listed(tmp_path) == {"locked": "unreadable", "secret.md": None}
        with pytest.raises(UnreadableDocumentError, match="unreadable"):
            list_files(str(tmp_path), settings=SETTINGS)[1].read(most_bytes=10)
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_queries_and_judgments_beside_a_beir_corpus_are_no_documents(tmp_path: Path) -> None:
    write(
        tmp_path,
        "beir/corpus.jsonl",
        "beir/queries.jsonl",
        "beir/questions.jsonl",
        "beir/qrels/test.tsv",
        "queries.jsonl",
    )
    assert list(listed(tmp_path)) == ["beir/corpus.jsonl", "queries.jsonl"]


def test_of_a_whole_beir_set_only_the_corpus_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        tmp_path,
        "beir/corpus.jsonl",
        "beir/queries.jsonl",
        "beir/LICENSE.txt",
        "beir/META.json",
        "beir/raw/a.md",
        "half/corpus.jsonl",
        "half/notes.md",
        "other.md",
    )
    assert list(listed(tmp_path)) == ["beir/corpus.jsonl", "half/corpus.jsonl", "half/notes.md", "other.md"]
    assert "3 files beside the corpus.jsonl of a BEIR set are not read, such as beir/LICENSE.txt" in caplog.text


def test_a_file_that_grew_over_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path, "a.md")
    (file,) = list_files(str(tmp_path), settings=SETTINGS)
    (tmp_path / "a.md").write_text("x" * 1_000, encoding="utf-8")
    with pytest.raises(UnreadableDocumentError, match="too_large"):
        file.read(most_bytes=100)


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    write(tmp_path, "a.md")
    (file,) = list_files(str(tmp_path), settings=SETTINGS)
    (tmp_path / "a.md").unlink()
    with pytest.raises(UnreadableDocumentError, match="vanished"):
        file.read(most_bytes=100)


def test_a_store_that_does_not_answer_stops_the_run() -> None:
    """A closed port: documents that could not be fetched must not look deleted."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]

    class ClosedPort:
        def open(self, path: str, mode: str) -> None:
            socket.create_connection(("127.0.0.1", port))

    with pytest.raises(CorpusSourceError, match=r"s3://bucket/a\.md"):
        SourceFile("a.md", "s3://bucket/a.md", 4, ClosedPort()).read(most_bytes=10)
