from __future__ import annotations

import json
import logging
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.errors import CorpusSourceError, EmptyCorpusError
from domain_embed_pipeline.ids import chunk_id_of
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.corpus.helpers import SMALL, corpus_of, count_words, docx_bytes, pdf_bytes


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_rows(root: Path, name: str, rows: list[dict]) -> None:
    write(root, name, "".join(json.dumps(row) + "\n" for row in rows))


def reasons(corpus: Corpus) -> dict[str, str]:
    return {row.document_id: row.reason for row in corpus.quarantine}


def test_a_folder_of_every_format_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "Plain text.")
    write(tmp_path, "b.md", "# Guide\n\n## Dose\n\nMarkdown text.")
    write(tmp_path, "c.HTML", "<h1>Page</h1><p>Page text.</p>")
    write(tmp_path, "d.pdf", pdf_bytes([[(11, "Text of a PDF.")]]))
    write(tmp_path, "e.docx", docx_bytes([("Title", "Letter"), ("Normal", "Word text.")]))
    write(tmp_path, "f.txt", "First piece.\n---\nSecond piece.")
    write_rows(tmp_path, "g.jsonl", [{"text": "Row text.", "title": "Row"}])
    pq.write_table(pa.table({"text": ["Parquet text."]}), tmp_path / "h.parquet")
    corpus = corpus_of(tmp_path)
    assert [(chunk.document_id, chunk.title, chunk.text) for chunk in corpus.chunks] == [
        ("a.txt", "", "Plain text."),
        ("b.md", "Guide > Dose", "Markdown text."),
        ("c.HTML", "Page", "Page text."),
        ("d.pdf", "", "Text of a PDF."),
        ("e.docx", "Letter", "Word text."),
        ("f.txt", "", "First piece."),
        ("f.txt", "", "Second piece."),
        ("g.jsonl", "Row", "Row text."),
        ("h.parquet", "", "Parquet text."),
    ]
    assert [document.media_type.rpartition("/")[2].rpartition(".")[2] for document in corpus.documents] == [
        "plain", "markdown", "html", "pdf", "document", "plain", "jsonl", "parquet",
    ]  # fmt: skip
    assert all(len(document.document_digest) == 64 for document in corpus.documents)
    assert corpus.quarantine == ()


def test_a_beir_corpus_is_taken_as_it_is(tmp_path: Path) -> None:
    rows = [
        {"_id": "1_0", "title": "A", "text": "Long " * 50 + "end.", "source": "one.md"},
        {"_id": "1_1", "title": "A", "text": "Second.", "source": "one.md"},
        {"_id": "2_0", "title": "", "text": "Third.", "source": "two.md"},
    ]
    write_rows(tmp_path, "corpus.jsonl", rows)
    corpus = corpus_of(tmp_path / "corpus.jsonl")
    assert [(chunk.external_ids, chunk.document_ids, chunk.position) for chunk in corpus.chunks] == [
        (("1_0",), ("one.md",), 0),
        (("1_1",), ("one.md",), 1),
        (("2_0",), ("two.md",), 0),
    ]
    assert corpus.chunks[0].text == ("Long " * 50 + "end.")
    assert [(document.document_id, document.chunk_count) for document in corpus.documents] == [
        ("one.md", 2),
        ("two.md", 1),
    ]


def test_a_bad_row_is_set_aside_by_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "chunks.jsonl", '{"text": "Good."}\n{broken\n{"text": "Good too."}\n')
    corpus = corpus_of(tmp_path)
    assert len(corpus.chunks) == 2
    assert reasons(corpus) == {"chunks.jsonl:2": "bad_row"}


def test_of_many_bad_rows_the_first_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    write(tmp_path, "chunks.jsonl", '{"text": "Good."}\n' + '{"content": "x"}\n' * 1_500)
    corpus = corpus_of(tmp_path)
    assert len(corpus.quarantine) == 1_001
    assert corpus.quarantine[0].detail == "500 more rows"


def test_rows_of_one_source_in_several_files_are_one_document(tmp_path: Path) -> None:
    write_rows(tmp_path, "1.jsonl", [{"text": "One.", "source": "s"}])
    write_rows(tmp_path, "2.jsonl", [{"text": "Two.", "source": "s"}])
    corpus = corpus_of(tmp_path)
    assert [(document.document_id, document.chunk_count) for document in corpus.documents] == [("s", 2)]
    assert [chunk.position for chunk in corpus.chunks] == [0, 1]


def test_of_a_file_of_ready_chunks_that_breaks_off_nothing_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    pq.write_table(pa.table({"text": [f"Text {number}." for number in range(20_000)]}), path, row_group_size=1_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2_000] = b"\xff" * 2_000  # Past the first row groups; the footer is whole.
    path.write_bytes(bytes(data))
    write(tmp_path, "a.md", "Text.")
    corpus = corpus_of(tmp_path)
    assert [document.document_id for document in corpus.documents] == ["a.md"]
    assert reasons(corpus) == {"broken.parquet": "unreadable"}


def test_the_same_passage_in_two_files_is_one_chunk_with_two_documents(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "# T\n\nShared  text.\n")
    write(tmp_path, "a.md", "# T\n\nShared text.\n")
    write_rows(tmp_path, "c.jsonl", [{"_id": "x", "title": "T", "text": "Shared\ntext."}])
    (chunk,) = corpus_of(tmp_path).chunks
    assert chunk.chunk_id == chunk_id_of("Shared text.", "T")
    assert (chunk.document_ids, chunk.external_ids) == (("a.md", "b.md", "c.jsonl"), ("x",))
    assert corpus_of(tmp_path).duplicate_count == 2


def test_a_passage_repeated_within_a_document_keeps_its_first_place(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "Same.\n---\nOther.\n---\nSame.")
    corpus = corpus_of(tmp_path)
    assert [(chunk.text, chunk.position) for chunk in corpus.chunks] == [("Same.", 0), ("Other.", 1)]
    assert (corpus.documents[0].chunk_count, corpus.duplicate_count) == (2, 1)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1_000_000))
def test_ids_and_version_do_not_depend_on_the_order_or_time_of_writing(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    files = {f"{number}.md": f"# T\n\nText number {number % 7}.\n" for number in range(20)}
    shuffled = random.Random(seed).sample(sorted(files.items()), len(files))
    first, second = (tmp_path_factory.mktemp("order") for _ in range(2))
    for name, text in files.items():
        write(first, name, text)
    for name, text in shuffled:
        write(second, name, text.replace("\n", "\r\n"))
    one, other = corpus_of(first), corpus_of(second)
    assert one.corpus_version == other.corpus_version
    assert one.chunks == other.chunks


def test_the_version_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = [{"_id": str(number), "text": f"Text {number}.", "source": f"{number % 3}"} for number in range(9)]
    write_rows(tmp_path, "1/c.jsonl", rows)
    write_rows(tmp_path, "2/c.jsonl", rows[::-1])
    one, other = corpus_of(tmp_path / "1"), corpus_of(tmp_path / "2")
    assert one.corpus_version == other.corpus_version
    assert [document.document_digest for document in one.documents] == [
        document.document_digest for document in other.documents
    ]


def test_the_version_changes_with_the_text_and_with_the_documents_of_a_chunk(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "Text.")
    versions = {corpus_of(tmp_path).corpus_version}
    write(tmp_path, "b.md", "Text.")
    versions.add(corpus_of(tmp_path).corpus_version)
    write(tmp_path, "b.md", "Text!")
    versions.add(corpus_of(tmp_path).corpus_version)
    assert len(versions) == 3


def test_every_kind_of_bad_file_is_set_aside_and_the_good_one_is_read(tmp_path: Path) -> None:
    write(tmp_path, "good.md", "Good text.")
    write(tmp_path, "empty.txt", "")
    write(tmp_path, "blank.md", " \n\n")
    write(tmp_path, "binary.txt", b"\x7fELF\x00\x01")
    write(tmp_path, "cyrillic.txt", "Здравствуйте, мир".encode("cp1251"))
    write(tmp_path, "corrupt.pdf", b"%PDF-1.4 broken")
    write(tmp_path, "corrupt.docx", b"PK\x03\x04 broken")
    write(tmp_path, "secret.pdf", pdf_bytes([[(11, "Text.")]], password="secret"))
    write(tmp_path, "picture.png", b"\x89PNG")
    write(tmp_path, "empty.jsonl", "")
    (tmp_path / "loop").symlink_to(tmp_path)
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(50_000_000)
    corpus = corpus_of(tmp_path)
    assert [chunk.text for chunk in corpus.chunks] == ["Good text."]
    assert reasons(corpus) == {
        "binary.txt": "binary",
        "blank.md": "empty",
        "corrupt.docx": "unreadable",
        "corrupt.pdf": "unreadable",
        "cyrillic.txt": "not_text",
        "empty.jsonl": "empty",
        "empty.txt": "empty",
        "huge.txt": "too_large",
        "loop": "symlink_loop",
        "picture.png": "unsupported",
        "secret.pdf": "unreadable",
    }
    assert {row.document_id: row.byte_count for row in corpus.quarantine}["huge.txt"] == 50_000_000


def test_a_file_that_vanishes_while_the_corpus_is_read_is_set_aside(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, f"{name}.md", f"Text {name}.")

    def count_and_delete(text: str, /) -> int:
        (tmp_path / "b.md").unlink(missing_ok=True)
        return count_words(text)

    corpus = load_corpus(str(tmp_path), settings=SMALL, count_tokens=count_and_delete)
    assert [chunk.text for chunk in corpus.chunks] == ["Text a.", "Text c."]
    assert reasons(corpus) == {"b.md": "vanished"}


def test_ten_thousand_identical_files_are_cut_once_and_quickly(tmp_path: Path) -> None:
    text = "# T\n\n" + " ".join(f"Sentence {number} has six words here." for number in range(20))
    write(tmp_path, "0.md", text)
    for number in range(1, 10_000):
        (tmp_path / f"{number}.md").hardlink_to(tmp_path / "0.md")
    counted: list[str] = []
    started = time.process_time()
    corpus = load_corpus(
        str(tmp_path), settings=SMALL, count_tokens=lambda each: counted.append(each) or count_words(each)
    )
    assert time.process_time() - started < 15
    assert (len(corpus.documents), len(corpus.chunks)) == (10_000, 7)
    assert all(len(chunk.document_ids) == 10_000 for chunk in corpus.chunks)
    assert corpus.duplicate_count == 9_999 * 7
    assert len(counted) < 100


def test_a_folder_without_any_document_names_itself_and_the_formats(tmp_path: Path) -> None:
    with pytest.raises(EmptyCorpusError) as caught:
        corpus_of(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert all(
        suffix in str(caught.value) for suffix in (".txt", ".md", ".html", ".pdf", ".docx", ".jsonl", ".parquet")
    )


def test_a_folder_of_bad_files_only_says_what_they_are(tmp_path: Path) -> None:
    write(tmp_path, "a.png", b"x")
    write(tmp_path, "b.png", b"x")
    write(tmp_path, "c.txt", "")
    with pytest.raises(EmptyCorpusError, match="2 unsupported, 1 empty"):
        corpus_of(tmp_path)


def test_a_missing_folder_is_an_error_even_beside_a_good_one(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "Text.")
    with pytest.raises(CorpusSourceError, match="nowhere"):
        corpus_of(f"{tmp_path}, {tmp_path / 'nowhere'}")


def test_files_of_one_name_in_two_locations_stay_two_documents(tmp_path: Path) -> None:
    write(tmp_path, "one/readme.md", "First.")
    write(tmp_path, "two/readme.md", "Second.")
    corpus = corpus_of(f"{tmp_path / 'one'},{tmp_path / 'two'}")
    assert [(chunk.document_id, chunk.text) for chunk in corpus.chunks] == [
        ("readme.md", "First."),
        ("two/readme.md", "Second."),
    ]


def test_a_corpus_survives_the_table_store(tmp_path: Path) -> None:
    write(tmp_path, "corpus/a.md", "# T\n\nText.")
    write(tmp_path, "corpus/b.png", b"x")
    corpus = corpus_of(tmp_path / "corpus")
    save_record(corpus, str(tmp_path / "stored"))
    assert load_record(Corpus, str(tmp_path / "stored")) == corpus


def test_ready_chunks_that_an_encoder_will_cut_off_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(tmp_path, "c.jsonl", [{"text": "word " * 30}, {"text": "short"}])
    with caplog.at_level(logging.WARNING):
        corpus_of(tmp_path)
    assert "1 ready chunks have more than 20 tokens" in caplog.text
    assert "has 30. What lies beyond the maximum length of a model is not seen" in caplog.text
    assert "Split these chunks" in caplog.text


def test_a_long_document_of_many_sections_is_read_in_linear_time(tmp_path: Path) -> None:
    write(
        tmp_path, "a.md", "# T\n\n" + "".join(f"## Section {number}\n\nWord {number}.\n\n" for number in range(5_000))
    )
    write(tmp_path, "b.txt", "no sentence ends here " * 50_000)
    started = time.process_time()
    corpus = corpus_of(tmp_path, CorpusSettings())
    assert time.process_time() - started < 15
    assert max(chunk.token_count for chunk in corpus.chunks) <= 220
