"""Real small documents, and a counter whose results a reader can check by counting words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docx
from fpdf import FPDF

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.records import Corpus

SMALL = CorpusSettings(max_tokens=20, min_tokens=0)


def count_words(text: str, /) -> int:
    return len(text.split())


def corpus_of(location: Path | str, settings: CorpusSettings = SMALL, **options: Any) -> Corpus:
    return load_corpus(str(location), settings=settings, count_tokens=count_words, **options)


def pdf_bytes(pages: Sequence[Sequence[tuple[float, str]]], *, header: str = "", password: str = "") -> bytes:
    """A PDF whose pages hold (size in points, paragraph) in Helvetica, with a running header and page numbers."""

    class Document(FPDF):
        def header(self) -> None:
            if header:
                self.set_font("helvetica", size=8)
                self.cell(0, 6, header, new_x="LMARGIN", new_y="NEXT")

        def footer(self) -> None:
            if header:
                self.set_y(-15)
                self.set_font("helvetica", size=8)
                self.cell(0, 6, f"Page {self.page_no()} of {len(pages)}")

    document = Document()
    document.set_auto_page_break(True, 20)
    if password:
        document.set_encryption(owner_password="owner", user_password=password)
    for paragraphs in pages:
        document.add_page()
        for size, text in paragraphs:
            document.set_font("helvetica", size=size)
            document.multi_cell(0, size * 0.45, text, new_x="LMARGIN", new_y="NEXT")
            document.ln(size * 0.4)
    return bytes(document.output())


def docx_bytes(parts: Sequence[tuple[str, str]]) -> bytes:
    """A Word document of (style name, text) paragraphs."""
    document = docx.Document()
    for style, text in parts:
        document.add_paragraph(text, style=style)
    return saved(document)


def saved(document: docx.document.Document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()
