from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from domain_embed_pipeline.drops.listing import SeenFile, content_digest, list_corpus, read_contents


def digest(location: str, known: tuple[SeenFile, ...] = ()) -> str:
    return content_digest(read_contents(list_corpus(location), known))


def test_the_digest_follows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("one", encoding="utf-8")
    first = digest(str(tmp_path))
    os.utime(document, (1, 1))
    (tmp_path / "picture.png").write_bytes(b"no document")
    assert digest(str(tmp_path)) == first
    document.write_text("two", encoding="utf-8")
    second = digest(str(tmp_path))
    document.rename(tmp_path / "b.md")
    third = digest(str(tmp_path))
    (tmp_path / "b.md").unlink()
    assert len({first, second, third, digest(str(tmp_path))}) == 4


def test_a_file_is_read_again_only_when_its_revision_changes(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("one", encoding="utf-8")
    listing = list_corpus(str(tmp_path))
    known = (SeenFile("a.md", listing["a.md"].revision, "as it was"),)
    assert read_contents(listing, known)[0].content == "as it was"
    document.write_text("two", encoding="utf-8")
    assert read_contents(list_corpus(str(tmp_path)), known)[0].content != "as it was"


def test_a_replacement_of_the_same_size_and_time_has_another_revision(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("one", encoding="utf-8")
    os.utime(document, (1_000, 1_000))
    before = list_corpus(str(tmp_path))["a.md"].revision
    other = tmp_path / "other.tmp"
    other.write_text("two", encoding="utf-8")
    os.utime(other, (1_000, 1_000))
    other.rename(document)
    assert list_corpus(str(tmp_path))["a.md"].revision != before


def test_a_spent_budget_leaves_the_rest_unread(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"{number}", encoding="utf-8")
    ticking = iter(range(100))
    seen = read_contents(list_corpus(str(tmp_path)), (), budget_s=3, clock=lambda: float(next(ticking)))
    assert [bool(file.content) for file in seen] == [True, True, False, False, False]
    assert all(file.content for file in read_contents(list_corpus(str(tmp_path)), seen))


def test_files_of_several_locations_are_told_apart_and_collections_have_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name, encoding="utf-8")
    listing = list_corpus(f"{tmp_path / 'one'}, qdrant://rag?text=t,{tmp_path / 'two'}")
    assert list(listing) == ["a.md", "2:a.md"]


def test_a_file_on_another_file_system_is_seen_to_change() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/drops-test/a.md", b"one")
    try:
        first = digest("memory://drops-test")
        revision = list_corpus("memory://drops-test")["a.md"].revision
        files.pipe("/drops-test/a.md", b"two")
        assert list_corpus("memory://drops-test")["a.md"].revision != revision
        assert digest("memory://drops-test") != first
    finally:
        files.rm("/drops-test", recursive=True)


class _Bucket:
    """What an object store lists: an ETag, and a time."""

    protocol = ("s3",)

    def __init__(self) -> None:
        self.etag, self.invalidated = "e1", 0

    def invalidate_cache(self, path: str | None = None) -> None:
        self.invalidated += 1

    def isdir(self, path: str) -> bool:
        return True

    def exists(self, path: str) -> bool:
        return True

    def find(self, root: str, *, detail: bool) -> dict[str, dict[str, object]]:
        return {f"{root}/a.md": {"name": f"{root}/a.md", "size": 3, "ETag": self.etag}}


def test_the_digest_of_an_object_store_is_taken_without_reading_and_its_listing_is_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = _Bucket()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda location: (bucket, "bucket"))
    (first,) = read_contents(list_corpus("s3://bucket"), ())
    assert first.content == "e1"
    bucket.etag = "e2"
    (second,) = read_contents(list_corpus("s3://bucket"), (first,))
    assert second.content == "e2"
    assert bucket.invalidated == 2
