"""Plain text: one document of paragraphs, or pre-cut chunks separated by a line that is exactly `---`."""

from __future__ import annotations

import re

from domain_embed_pipeline.corpus.structure import ParsedDocument, ReadyChunk, SectionBuilder, is_title_line

_SEPARATOR = re.compile(r"^---$", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•–]|\(?\w{1,3}[.)])\s")


def parse_text(text: str) -> ParsedDocument | list[ReadyChunk]:
    """Pre-cut chunks if a `---` line separates them, else a document of one section.

    The title is the first paragraph if it is one short line that does not end like a sentence.
    """
    if _SEPARATOR.search(text):
        return [ReadyChunk(piece.strip()) for piece in _SEPARATOR.split(text) if piece.strip()]
    paragraphs = [paragraph.strip("\n") for paragraph in _PARAGRAPH_END.split(text) if paragraph.strip()]
    title = ""
    if len(paragraphs) > 1 and is_title_line(paragraphs[0]):
        title = paragraphs.pop(0)
    builder = SectionBuilder()
    for paragraph in paragraphs:
        builder.add_block(paragraph, "lines" if _is_list(paragraph) else "prose")
    return builder.finish(title)


def _is_list(paragraph: str) -> bool:
    lines = paragraph.split("\n")
    return len(lines) > 1 and sum(bool(_LIST_ITEM.match(line)) for line in lines) * 2 > len(lines)
