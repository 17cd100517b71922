"""Documents to chunks of bounded size.

A section that fits is one chunk; a longer one is packed sentence by sentence (list, table and code: line by line) into
chunks of about equal size, without overlap. What does not belong here: formats, ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from domain_embed_pipeline.corpus.merging import merge_tiny_sections
from domain_embed_pipeline.corpus.sentences import halve, split_sentences
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.structure import HEADING_SEPARATOR, Block, ParsedDocument, Section
from domain_embed_pipeline.corpus.tokens import TokenCounter

# No text worth reading has more characters a token; longer ones are cut before they are counted.
_MOST_CHARACTERS_PER_TOKEN = 20


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A chunk before it is merged with its equals in other documents."""

    text: str
    title: str
    token_count: int
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence or line with the white space that follows it; never cut further."""

    text: str
    tokens: int
    starts_block: bool


def embedding_text_of(text: str, title: str) -> str:
    """What encoders see, as in `Chunk.embedding_text`."""
    return f"{title}. {text}" if title else text


def chunk_document(
    document: ParsedDocument, *, settings: CorpusSettings, count_tokens: TokenCounter
) -> list[ChunkDraft]:
    """Chunks of a document in reading order; none exceeds `settings.max_tokens`, title included."""
    cutter = _Cutter(settings, count_tokens)
    prefix = (document.title,) if document.title else ()
    sections = merge_tiny_sections(document.sections, is_tiny=cutter.is_tiny)
    return [draft for section in sections for draft in cutter.cut(section.blocks, [*prefix, *section.headings])]


class _Cutter:
    """The settings and the counter, for the functions that share them."""

    def __init__(self, settings: CorpusSettings, count_tokens: TokenCounter) -> None:
        self._settings = settings
        self._count = count_tokens

    def is_tiny(self, section: Section) -> bool:
        """Whether the section with its own heading has fewer than `min_tokens`."""
        text = "\n".join([*section.headings[-1:], *(block.text for block in section.blocks)])
        return self._is_within(text, self._settings.min_tokens - 1)

    def cut(self, blocks: tuple[Block, ...], path: list[str]) -> Iterator[ChunkDraft]:
        """Chunks of one section."""
        title = self._fitted_title(path)
        text = "\n\n".join(block.text for block in blocks).strip()
        if not text:
            # A heading with nothing under it in the whole document is all there is to find.
            text, title = title, ""
        if len(text) <= self._settings.max_tokens * _MOST_CHARACTERS_PER_TOKEN:
            tokens = self._count(embedding_text_of(text, title))
            if tokens <= self._settings.max_tokens:
                yield from [ChunkDraft(text, title, tokens)] if text else []
                return
        budget = self._settings.max_tokens - (self._count(f"{title}. ") if title else 0)
        for group in _balanced_groups(list(self._units(blocks, budget)), budget):
            yield from self._drafts([unit.text for unit in group], title)

    def _fitted_title(self, path: list[str]) -> str:
        """Path joined by ` > `, in at most a third of the chunk: inner headings go first, then the document's title."""
        limit = self._settings.max_tokens // 3
        path = list(path)
        while len(path) > 1 and not self._is_within(HEADING_SEPARATOR.join(path), limit):
            del path[1 if len(path) > 2 else 0]
        title = HEADING_SEPARATOR.join(path)
        while title and not self._is_within(title, limit):
            title = halve(title)[0].rstrip() if len(title) > 1 else ""
        return title

    def _units(self, blocks: tuple[Block, ...], budget: int) -> Iterator[_Unit]:
        for block in blocks:
            text = f"{block.text}\n\n"
            is_lines = block.kind == "lines"
            pieces = text.splitlines(keepends=True) if is_lines else self._sentences(text)
            parts = (part for piece in pieces for part in self._parts(piece, budget, is_line=is_lines))
            for index, part in enumerate(parts):
                yield _Unit(part, self._count(part), starts_block=index == 0)

    def _parts(self, piece: str, budget: int, *, is_line: bool) -> Iterator[str]:
        """The piece whole if it fits the budget, else in sentences (a line) or halves (a sentence)."""
        if len(piece) < 2 or self._is_within(piece, budget):
            yield piece
            return
        sentences = self._sentences(piece) if is_line else []
        for part in sentences if len(sentences) > 1 else halve(piece):
            yield from self._parts(part, budget, is_line=False)

    def _drafts(self, parts: list[str], title: str) -> Iterator[ChunkDraft]:
        """One draft; several where parts count more together than the sum of their counts, as some tokenizers do."""
        text = "".join(parts).strip()
        if not text:
            return
        tokens = self._count(embedding_text_of(text, title))
        if tokens <= self._settings.max_tokens or len(text) < 2:
            yield ChunkDraft(text, title, tokens)
            return
        middle = len(parts) // 2
        halves = (parts[:middle], parts[middle:]) if middle else tuple([part] for part in halve(text))
        for half in halves:
            yield from self._drafts(half, title)

    def _sentences(self, text: str) -> list[str]:
        return split_sentences(text, self._settings.sentence_language)

    def _is_within(self, text: str, limit: int) -> bool:
        return len(text) <= limit * _MOST_CHARACTERS_PER_TOKEN and self._count(text) <= limit


def _balanced_groups(units: list[_Unit], budget: int) -> Iterator[list[_Unit]]:
    """Runs of units within the budget and of about equal size, ending with a block where one ends nearby."""
    remaining = sum(unit.tokens for unit in units)
    group: list[_Unit] = []
    size = 0
    for unit in units:
        chunks_left = max(1, math.ceil(remaining / budget))
        target = remaining / chunks_left
        # The rest must still fit into the chunks that are left, or a small one would trail behind.
        ends_block = (
            unit.starts_block and size >= 0.7 * target and remaining - size <= 0.95 * budget * (chunks_left - 1)
        )
        if group and (size + unit.tokens > budget or size + unit.tokens / 2 > target or ends_block):
            yield group
            remaining -= size
            group, size = [], 0
        group.append(unit)
        size += unit.tokens
    if group:
        yield group
