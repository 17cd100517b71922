"""What every reader hands to the chunker: a title and sections of blocks under their heading paths.

What does not belong here: formats (`readers/`), sizes (`chunking`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain_embed_pipeline.ids import normalise_text

BlockKind = Literal["prose", "lines"]
HEADING_SEPARATOR = " > "
_LONGEST_TITLE = 100


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, or a list, table or piece of code."""

    text: str
    kind: BlockKind = "prose"
    """`prose` is cut between sentences; `lines` between lines."""


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under one heading."""

    headings: tuple[str, ...]
    """Headings from the outermost to the section's own; the document's title is not among them."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """One document before it is cut."""

    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class ReadyChunk:
    """A chunk that somebody else cut: kept as it is."""

    text: str
    title: str = ""
    source: str = ""
    """The document it is from; empty when the row does not say."""
    external_id: str = ""


def is_title_line(paragraph: str) -> bool:
    """Whether a document's first paragraph is its title: one short line that does not end like a sentence."""
    line = paragraph.strip()
    return "\n" not in line and len(line) <= _LONGEST_TITLE and line[:1].isalnum() and line[-1] not in ".!?:;,。！？"


class SectionBuilder:
    """Collects headings and blocks in reading order."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self._levels: list[int] = []
        self._sections: list[tuple[tuple[str, ...], list[Block]]] = [((), [])]

    def add_heading(self, level: int, text: str) -> None:
        """Start a section; `level` 1 is the outermost. A heading without text is passed over."""
        text = normalise_text(text)
        if not text:
            return
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, text))
        self._levels.append(level)
        self._sections.append((tuple(heading for _, heading in self._open), []))

    def add_block(self, text: str, kind: BlockKind = "prose") -> None:
        """Add a block to the section that is open; one without text is passed over."""
        if text.strip():
            self._sections[-1][1].append(Block(text.strip("\n").rstrip(), kind))

    def finish(self, stated_title: str = "", *, prefer_heading: bool = False) -> ParsedDocument:
        """The document, with its title taken out of the heading paths.

        Args:
            stated_title: Title from metadata; may be empty.
            prefer_heading: A sole outermost heading wins over the stated title (HTML titles carry the site's name).
        """
        sole = self._sole_outermost_heading()
        stated = normalise_text(stated_title)
        title = sole if sole and (prefer_heading or not stated) else stated
        sections = tuple(
            Section(headings[1:] if headings and headings[0] == title else headings, tuple(blocks))
            for headings, blocks in self._without_empty_parents()
        )
        return ParsedDocument(title, sections)

    def _sole_outermost_heading(self) -> str:
        """Text of the first heading, if every other heading lies below it."""
        if self._levels and all(level > self._levels[0] for level in self._levels[1:]):
            return self._sections[1][0][0]
        return ""

    def _without_empty_parents(self) -> list[tuple[tuple[str, ...], list[Block]]]:
        """Sections less those without blocks whose heading goes on in the next section's path (or that have none)."""
        kept = []
        for index, (headings, blocks) in enumerate(self._sections):
            following = self._sections[index + 1][0] if index + 1 < len(self._sections) else ()
            if blocks or (headings and following[: len(headings)] != headings):
                kept.append((headings, blocks))
        return kept
