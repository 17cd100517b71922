from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline.corpus.erasures import Erasure, ErasureList
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.errors import CorpusError, EmptyCorpusError
from domain_embed_pipeline.records import Corpus

SETTINGS = CorpusSettings(min_tokens=0)
SHARED = "The same warning stands in both manuals and is one passage."


def load(folder: Path, *erasures: Erasure) -> Corpus:
    return load_corpus(str(folder), settings=SETTINGS, count_tokens=lambda text: len(text.split()), erasures=erasures)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "pump.md").write_text(f"# Warning\n\n{SHARED}\n\n# Pump\n\nOnly the pump is told of here.\n", "utf-8")
    (folder / "valve.md").write_text(f"# Warning\n\n{SHARED}\n\n# Valve\n\nOnly the valve is told of here.\n", "utf-8")
    return folder


def digest_of(corpus: Corpus, document_id: str) -> str:
    return next(row.document_digest for row in corpus.documents if row.document_id == document_id)


def erased(document_id: str, digest: str | None = None) -> Erasure:
    return Erasure(document_id, digest, "asked for", "2026-01-01T00:00:00+00:00")


def test_an_erased_document_is_not_read_and_what_it_shared_stays_with_the_other(folder: Path) -> None:
    corpus = load(folder, erased("pump.md"))
    assert [row.document_id for row in corpus.documents] == ["valve.md"]
    assert not any("pump" in chunk.text for chunk in corpus.chunks)
    shared = next(chunk for chunk in corpus.chunks if chunk.text == SHARED)
    assert shared.document_ids == ("valve.md",)


def test_a_corpus_without_the_document_is_the_same_as_one_that_never_had_it(folder: Path) -> None:
    without = load(folder, erased("pump.md"))
    (folder / "pump.md").unlink()
    never = load(folder)
    assert (without.corpus_version, without.chunks, without.documents) == (
        never.corpus_version,
        never.chunks,
        never.documents,
    )


def test_the_same_content_under_another_name_stays_away_and_new_content_under_the_old_name_too(folder: Path) -> None:
    entry = erased("pump.md", digest_of(load(folder), "pump.md"))
    (folder / "pump.md").rename(folder / "renamed.md")
    assert [row.document_id for row in load(folder, entry).documents] == ["valve.md"]
    (folder / "pump.md").write_text("# Pump\n\nAnother text under the old name.\n", "utf-8")
    assert [row.document_id for row in load(folder, entry).documents] == ["valve.md"]


def test_rows_of_ready_chunks_of_an_erased_source_stay_away(tmp_path: Path) -> None:
    lines = [f'{{"_id": "{row}", "text": "text {row}", "source": "{row}.pdf"}}' for row in ("a", "b")]
    (tmp_path / "chunks.jsonl").write_text("\n".join(lines), "utf-8")
    corpus = load(tmp_path, erased("a.pdf"))
    assert [chunk.external_ids for chunk in corpus.chunks] == [("b",)]


def test_a_corpus_of_erased_documents_only_is_empty(folder: Path) -> None:
    with pytest.raises(EmptyCorpusError):
        load(folder, erased("pump.md"), erased("valve.md"))


def test_a_list_keeps_what_is_put_on_it_once(tmp_path: Path) -> None:
    erasures = ErasureList(tmp_path / "list.jsonl")
    assert erasures.entries() == ()
    first = erasures.add("a.md", "digest", "asked for")
    assert erasures.add("a.md", None, "again") == first
    erasures.add("b.md", None, "")
    assert [entry.document_id for entry in erasures.entries()] == ["a.md", "b.md"]
    assert erasures.lift("a.md") and not erasures.lift("a.md")
    assert [entry.document_id for entry in erasures.entries()] == ["b.md"]


def test_a_list_that_cannot_be_read_stops_the_reading_of_documents(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"document_id": "a.md"', "utf-8")
    with pytest.raises(CorpusError, match=r"list\.jsonl"):
        ErasureList(path).entries()
