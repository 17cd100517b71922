"""PDF to sections. Lines set clearly larger than the running text are headings; repeated page furniture is left out.

A PDF holds glyphs at places, not paragraphs: lines are joined, hyphenation at line ends is mended, and a gap between
lines starts a paragraph. A scanned PDF has no text at all.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from domain_embed_pipeline.corpus.structure import ParsedDocument, SectionBuilder
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline.ids import normalise_text

_HEADING_RATIO = 1.12
_LONGEST_HEADING = 120
_PARAGRAPH_GAP = 1.6
"""Line distances, in units of the usual one, that start a paragraph."""
_FURNITURE_PAGES = 3
"""Pages on which the first or last line must stand, digits aside, to be a running header or footer."""
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])-$")


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: float
    y: float


def parse_pdf(data: bytes) -> ParsedDocument:
    """Sections of a PDF.

    Raises:
        UnreadableDocumentError: `unreadable` when it is damaged or encrypted, `no_text` when it is a scan.
    """
    import pypdf
    from pypdf.errors import PyPdfError

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocumentError("unreadable", "encrypted with a password")
        pages = [_lines_of(page) for page in reader.pages]
        stated_title = str((reader.metadata or {}).get("/Title") or "")
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        # pypdf raises its own errors and, on some damaged files, whatever its parser stumbles over.
        raise UnreadableDocumentError("unreadable", f"damaged PDF: {type(error).__name__}: {error}") from error
    pages = _without_furniture(pages)
    if not any(pages):
        raise UnreadableDocumentError("no_text", f"{len(pages)} pages without text; a scan needs OCR first")
    return _sections(pages, stated_title)


def _lines_of(page: Any) -> list[_Line]:
    """Lines of a page in reading order, with the size of their largest glyphs."""
    pieces: list[tuple[str, float, float]] = []

    def visit(text: str, matrix: list[float], text_matrix: list[float], font: Any, size: float) -> None:
        pieces.append(
            (text, abs(size * text_matrix[3] * matrix[3]) or abs(size), text_matrix[5] * matrix[3] + matrix[5])
        )

    page.extract_text(visitor_text=visit)
    lines: list[_Line] = []
    open_text, open_size, open_y = "", 0.0, 0.0
    for text, size, y in pieces:
        for index, part in enumerate(text.split("\n")):
            if index > 0:
                _close(lines, open_text, open_size, open_y)
                open_text, open_size = "", 0.0
            if part.strip():
                open_size, open_y = (max(open_size, size), y) if open_text.strip() else (size, y)
            open_text += part
    _close(lines, open_text, open_size, open_y)
    return lines


def _close(lines: list[_Line], text: str, size: float, y: float) -> None:
    if normalise_text(text):
        lines.append(_Line(normalise_text(text), round(size, 1), y))


def _without_furniture(pages: list[list[_Line]]) -> list[list[_Line]]:
    """Pages without the running headers, footers and page numbers."""
    edges = Counter(
        _without_digits(line.text) for lines in pages for line in {lines[0], lines[-1]} if lines
    ) if any(pages) else Counter()  # fmt: skip
    repeated = {text for text, count in edges.items() if count >= min(_FURNITURE_PAGES, max(2, len(pages)))}
    kept = []
    for lines in pages:
        body = list(lines)
        while body and _without_digits(body[0].text) in repeated:
            body.pop(0)
        while body and _without_digits(body[-1].text) in repeated:
            body.pop()
        kept.append(body)
    return kept


def _without_digits(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _sections(pages: list[list[_Line]], stated_title: str) -> ParsedDocument:
    sizes = Counter[float]()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    body_size = sizes.most_common(1)[0][0]
    heading_sizes = sorted((size for size in sizes if size >= body_size * _HEADING_RATIO), reverse=True)
    builder = SectionBuilder()
    for size, text in _paragraphs(pages, body_size):
        if size >= body_size * _HEADING_RATIO and len(text) <= _LONGEST_HEADING:
            builder.add_heading(heading_sizes.index(size) + 1, text)
        else:
            builder.add_block(text)
    return builder.finish(stated_title)


def _paragraphs(pages: list[list[_Line]], body_size: float) -> Iterator[tuple[float, str]]:
    """(size, text) of each paragraph or heading; a paragraph may go on over a page break."""
    gap = _usual_gap(pages, body_size)
    text, size, last_y = "", 0.0, None
    for lines in pages:
        for index, line in enumerate(lines):
            new_page = index == 0
            far = last_y is not None and not new_page and abs(last_y - line.y) > gap * _PARAGRAPH_GAP
            if text and (line.size != size or far or (new_page and text[-1] in ".!?:")):
                yield size, text
                text = ""
            text = _joined(text, line.text)
            size, last_y = line.size, line.y
    if text:
        yield size, text


def _usual_gap(pages: list[list[_Line]], body_size: float) -> float:
    gaps = Counter(
        round(abs(above.y - below.y), 1)
        for lines in pages
        for above, below in itertools.pairwise(lines)
        if above.size == below.size == body_size
    )
    return gaps.most_common(1)[0][0] if gaps else body_size * 1.2


def _joined(text: str, line: str) -> str:
    if not text:
        return line
    if _HYPHEN.search(text) and line[:1].islower():
        return text[:-1] + line
    return f"{text} {line}"
