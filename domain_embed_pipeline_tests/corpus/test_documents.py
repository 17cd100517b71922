from __future__ import annotations

import pytest

from domain_embed_pipeline.corpus.documents import CutDocument, chunks_of_document
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline_tests.corpus.helpers import SMALL, count_words, docx_bytes, pdf_bytes

GERMAN = "Der Patient wurde am Montag mit Brustschmerzen über die Notaufnahme aufgenommen. Die Größe war 1,80 m."
PDF = pdf_bytes([[(11, "Give aspirin at once, unless the patient is allergic to it.")]])
DOCX = docx_bytes([("Normal", "Give aspirin.")])


def cut(data: bytes, suffix: str) -> CutDocument:
    return chunks_of_document(data, suffix, settings=SMALL, count_tokens=count_words)


def reason_of(data: bytes, suffix: str) -> str:
    with pytest.raises(UnreadableDocumentError) as caught:
        cut(data, suffix)
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"Give aspirin.", ".txt"),
        (b"Give **aspirin**.", ".md"),
        (b"<p>Give <b>aspirin</b>.</p>", ".html"),
        (DOCX, ".docx"),
        (pdf_bytes([[(11, "Give aspirin.")]]), ".pdf"),
    ],
)
def test_every_format_comes_to_the_same_chunk(data: bytes, suffix: str) -> None:
    (draft,) = cut(data, suffix).drafts
    assert (draft.text, draft.title, draft.token_count) == ("Give aspirin.", "", 2)


def test_the_digest_does_not_depend_on_line_ends_or_encoding() -> None:
    digests = {
        cut(data, ".txt").document_digest
        for data in (b"one\ntwo", b"one\r\ntwo", b"\xef\xbb\xbfone\rtwo", "one\ntwo".encode("utf-16"))
    }
    assert len(digests) == 1


def test_an_encoding_other_than_utf_8_is_noted() -> None:
    assert cut(GERMAN.encode("latin-1"), ".txt").media_type == "text/plain; charset=windows-1252"
    assert cut(GERMAN.encode(), ".txt").media_type == "text/plain"


def test_a_page_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<meta charset="windows-1251"><p>Назначено лечение.</p>'.encode("cp1251")
    assert cut(page, ".html").drafts[0].text == "Назначено лечение."


@pytest.mark.parametrize(
    ("data", "suffix", "reason"),
    [
        (b"", ".txt", "empty"),
        (b" \n\t\r\n", ".md", "empty"),
        (b"---\n---\n", ".txt", "no_text"),
        (b"<script>x()</script>", ".html", "no_text"),
        (b"![](x.png)", ".md", "no_text"),
        (b"GIF89a\x00\x01", ".txt", "binary"),
        ("Здравствуйте, мир".encode("cp1251"), ".md", "not_text"),
        (b"%PDF-1.7 and then nothing", ".pdf", "unreadable"),
        (PDF[:300] + PDF[600:900], ".pdf", "unreadable"),
        (b"Hello", ".pdf", "unreadable"),
        (DOCX[: len(DOCX) // 2], ".docx", "unreadable"),
        (b"PK\x03\x04 no archive", ".docx", "unreadable"),
        (b"<div>" * 20_000 + b"deep", ".html", "unreadable"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, suffix: str, reason: str) -> None:
    assert reason_of(data, suffix) == reason


@pytest.mark.parametrize("step", range(0, len(PDF), 211))
def test_a_damaged_pdf_is_read_or_set_aside_but_stops_nothing(step: int) -> None:
    damaged = PDF[:step] + bytes(255 - byte for byte in PDF[step : step + 40]) + PDF[step + 40 :]
    try:
        assert cut(damaged, ".pdf").drafts
    except UnreadableDocumentError as error:
        assert error.reason in {"unreadable", "no_text"}
