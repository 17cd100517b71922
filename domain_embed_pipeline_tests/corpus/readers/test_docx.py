from __future__ import annotations

import io
import zipfile

import docx
import pytest

from domain_embed_pipeline.corpus.readers.docx import parse_docx
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline_tests.corpus.helpers import docx_bytes, saved

LIMIT = 10_000_000


def test_headings_by_word_styles_become_the_path() -> None:
    data = docx_bytes(
        [
            ("Title", "Chest pain"),
            ("Heading 1", "Treatment"),
            ("Normal", "Give aspirin."),
            ("Heading 2", "Doses"),
            ("List Bullet", "300 mg"),
            ("List Bullet", "75 mg later"),
        ]
    )
    parsed = parse_docx(data, most_unpacked_bytes=LIMIT)
    assert parsed.title == "Chest pain"
    assert [(section.headings, section.blocks[0].text) for section in parsed.sections] == [
        (("Treatment",), "Give aspirin."),
        (("Treatment", "Doses"), "- 300 mg\n- 75 mg later"),
    ]


def test_a_table_becomes_lines_of_cells() -> None:
    document = docx.Document()
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Drug", "Dose", "ASA", "300 mg"], strict=True):
        cell.text = text
    (section,) = parse_docx(saved(document), most_unpacked_bytes=LIMIT).sections
    assert section.blocks[0].text == "Drug | Dose\nASA | 300 mg"


def test_what_looks_like_markdown_in_word_stays_text() -> None:
    (section,) = parse_docx(docx_bytes([("Normal", "# 5 *of* 7 <host>")]), most_unpacked_bytes=LIMIT).sections
    assert section.blocks[0].text == "# 5 *of* 7 <host>"


def test_an_encrypted_or_old_word_file_is_named() -> None:
    with pytest.raises(UnreadableDocumentError, match="encrypted"):
        parse_docx(b"\xd0\xcf\x11\xe0" + b"\0" * 600, most_unpacked_bytes=LIMIT)


def test_a_file_that_unpacks_to_far_more_than_it_is_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", " " * (LIMIT + 1))
    with pytest.raises(UnreadableDocumentError, match="too_large"):
        parse_docx(buffer.getvalue(), most_unpacked_bytes=LIMIT)
