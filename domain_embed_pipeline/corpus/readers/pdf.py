"""PDF to sections, by pypdf.

A PDF holds glyphs at places, not paragraphs. Lines set clearly larger than the running text are headings; a wide gap
starts a paragraph; running headers, footers, page numbers and tables of contents are left out; words that were
hyphenated at a line end are mended. A scanned PDF has no text at all and needs OCR first.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from domain_embed_pipeline.corpus.structure import ParsedDocument, SectionBuilder, is_title_line
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline.ids import normalise_text

_HEADING_RATIO = 1.12
"""Size of a heading's glyphs against those of the running text."""
_LONGEST_HEADING = 120
_MOST_HEADING_SHARE = 0.3
"""Above this share of the characters, size does not mark headings (slides, posters) and none is taken."""
_PARAGRAPH_GAP = 1.2
"""Line distance, in units of the usual one, that starts a paragraph. LaTeX sets its lists at 1.23."""
_EDGE_LINES = 2
_PAGE_NUMBER = re.compile(r"[-–—\s]*(?:\w{1,6}\.?\s)?\d{1,4}(?:\s?(?:/|\w{1,4})\s?\d{1,4})?[-–—\s]*")
_CONTENTS_LINE = re.compile(r"(?:\.\s?){5,}\s*\d{1,4}$")
_BULLET = re.compile(r"[•▪◦●‣⁃·–*-]\s")
_WORD_BREAK = re.compile(r"(\w+)[-\u00ad]$")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ft", "ﬆ": "st"})
# What authoring programs write where nobody gave a title.
_EMPTY_TITLE = re.compile(
    r"(?i)(?:untitled.*|microsoft (?:word|powerpoint|excel)\b.*|.*\.(?:docx?|pptx?|tex|dvi|pdf|indd|rtf))$"
)


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: float
    """Height of its glyphs in points, rounded to halves."""
    baseline: float


def parse_pdf(data: bytes) -> ParsedDocument:
    """Sections of a PDF. The title is a sole outermost heading, else that of the metadata, else a short first line.

    Raises:
        UnreadableDocumentError: `unreadable` when it is encrypted, `no_text` when it is a scan. A damaged file raises
            whatever pypdf stumbles over.
    """
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableDocumentError("unreadable", "encrypted with a password")
    pages = [_lines_of(page) for page in reader.pages]
    if not any(pages):
        raise UnreadableDocumentError("no_text", f"{len(pages)} pages without text; a scan needs OCR first")
    stated_title = normalise_text(str((reader.metadata or {}).get("/Title") or ""))
    return _document(pages, "" if _EMPTY_TITLE.match(stated_title) else stated_title)


def _lines_of(page: Any) -> list[_Line]:
    """Lines of a page in reading order."""
    lines: list[_Line] = []
    parts: list[tuple[str, float, float]] = []

    def close() -> None:
        """End the line; one without visible text leaves nothing."""
        text = normalise_text("".join(part for part, _, _ in parts)).translate(_LIGATURES)
        visible = [part for part in parts if part[0].strip()]
        if text and visible:
            # The size that most of the line is set in: a superscript or a drop cap does not count.
            size = max(visible, key=lambda part: len(part[0]))[1]
            lines.append(_Line(text, size, visible[0][2]))
        parts.clear()

    def visit(text: str, matrix: list[float], text_matrix: list[float], font: Any, size: float) -> None:
        """Called by pypdf with each piece of text, its position and its size in points."""
        scale = math.hypot(text_matrix[2], text_matrix[3]) * math.hypot(matrix[2], matrix[3])
        baseline = text_matrix[4] * matrix[1] + text_matrix[5] * matrix[3] + matrix[5]
        for index, part in enumerate(text.split("\n")):
            if index:
                close()
            parts.append((part, round(2 * size * scale) / 2, baseline))

    page.extract_text(visitor_text=visit)
    close()
    return lines


def _document(pages: list[list[_Line]], stated_title: str) -> ParsedDocument:
    sizes = _characters_by_size(pages)
    body_size = max(sizes, key=lambda size: sizes[size])
    heading_sizes = sorted((size for size in sizes if size >= body_size * _HEADING_RATIO), reverse=True)
    if sum(sizes[size] for size in heading_sizes) > _MOST_HEADING_SHARE * sum(sizes.values()):
        heading_sizes = []
    pages = _without_furniture(pages, frozenset(heading_sizes))
    paragraphs = list(_paragraphs(pages, frozenset(heading_sizes)))
    if not heading_sizes and not stated_title and len(paragraphs) > 1 and is_title_line(paragraphs[0][1]):
        stated_title = paragraphs.pop(0)[1]
    builder = SectionBuilder()
    for size, text in paragraphs:
        if size in heading_sizes and len(text) <= _LONGEST_HEADING and any(map(str.isalpha, text)):
            builder.add_heading(heading_sizes.index(size) + 1, text)
        else:
            builder.add_block(text)
    return builder.finish(stated_title, prefer_heading=True)


def _characters_by_size(pages: list[list[_Line]]) -> Counter[float]:
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes


def _without_furniture(pages: list[list[_Line]], heading_sizes: frozenset[float]) -> list[list[_Line]]:
    """Pages without running headers and footers, page numbers and tables of contents.

    A header is among the two highest or lowest lines and stands, digits aside, in the same place of two pages in five
    (odd and even pages may differ), but of three at least or of both of two. Headings stay: slides repeat theirs.
    """
    edges = [_edge_lines(lines) if len(pages) > 1 else [] for lines in pages]
    counts = Counter(key for lines in edges for key in {_furniture_key(line) for line in lines})
    least = max(0.4 * len(pages), 2 if len(pages) == 2 else 3)
    kept = []
    for lines, edge in zip(pages, edges, strict=True):
        furniture = {
            line
            for line in edge
            if line.size not in heading_sizes
            and (counts[_furniture_key(line)] >= least or _PAGE_NUMBER.fullmatch(line.text))
        }
        kept.append([line for line in lines if line not in furniture and not _CONTENTS_LINE.search(line.text)])
    return kept


def _edge_lines(lines: list[_Line]) -> list[_Line]:
    by_height = sorted(lines, key=lambda line: line.baseline)
    return by_height[:_EDGE_LINES] + by_height[_EDGE_LINES:][-_EDGE_LINES:]


def _furniture_key(line: _Line) -> tuple[str, int]:
    return re.sub(r"\d+", "#", line.text).casefold(), round(line.baseline)


def _paragraphs(pages: list[list[_Line]], heading_sizes: frozenset[float]) -> Iterator[tuple[float, str]]:
    """(size, text) of paragraphs and headings; a paragraph may go on over a page or column break."""
    usual_gap = _usual_gap(pages)
    words = Counter(word for lines in pages for line in lines for word in re.findall(r"[\w-]+", line.text))
    text = ""
    previous: _Line | None = None
    for line in (line for lines in pages for line in lines):
        if previous is not None and _starts_paragraph(previous, line, usual_gap, heading_sizes):
            yield previous.size, text
            text = ""
        text = _joined(text, line.text, words)
        previous = line
    if previous is not None:
        yield previous.size, text


def _starts_paragraph(above: _Line, below: _Line, usual_gap: float, heading_sizes: frozenset[float]) -> bool:
    if _BULLET.match(below.text):
        return True
    if above.size != below.size and (above.size in heading_sizes or below.size in heading_sizes):
        return True
    gap = above.baseline - below.baseline
    if above.size in heading_sizes:  # A heading of two lines has a wider pitch than the running text.
        return not 0 < gap <= 1.6 * above.size
    if gap < -usual_gap:  # A new page or column: the sentence tells whether the paragraph goes on.
        return not (below.text[0].islower() or _WORD_BREAK.search(above.text))
    return gap > usual_gap * _PARAGRAPH_GAP


def _usual_gap(pages: list[list[_Line]]) -> float:
    """The most frequent distance of two baselines; infinite when no two lines tell."""
    gaps = Counter(
        round(above.baseline - below.baseline, 1)
        for lines in pages
        for above, below in pairwise(lines)
        if above.size == below.size and above.baseline > below.baseline
    )
    return max(gaps, key=lambda gap: gaps[gap]) if gaps else math.inf


def _joined(text: str, line: str, words: Counter[str]) -> str:
    """Text with the line after it; a word hyphenated at the line end is mended unless the document writes it so."""
    broken = _WORD_BREAK.search(text)
    if not broken or not line[:1].isalpha():
        return f"{text} {line}" if text else line
    rest = re.match(r"\w+", line)
    ends_soft = text.endswith("\u00ad")
    hyphenated = f"{broken[1]}-{rest[0] if rest else ''}"
    is_compound = not ends_soft and (words[hyphenated] > words[hyphenated.replace("-", "")] or line[0].isupper())
    return f"{text}{line}" if is_compound else f"{text[:-1]}{line}"
