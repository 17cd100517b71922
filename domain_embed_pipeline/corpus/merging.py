"""Tiny sections join a neighbour of their document. What does not belong here: cutting what is long (`chunking`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from domain_embed_pipeline.corpus.structure import HEADING_SEPARATOR, Block, Section


def merge_tiny_sections(sections: Iterable[Section], *, is_tiny: Callable[[Section], bool]) -> list[Section]:
    """Sections of one document in order, none of them tiny unless it is the only one.

    Tiny sections in a row join each other until they are tiny no more. What is left goes to the section that it
    introduces (the next one, if that lies under it), else to the one before. The larger keeps its headings; those of
    the smaller become lines of its text.
    """
    merged: list[Section] = []
    waiting: list[Section] = []
    for section in sections:
        if is_tiny(section):
            waiting.append(section)
            if not is_tiny(_as_one(waiting)):
                merged.append(_as_one(waiting))
                waiting = []
            continue
        if waiting and (not merged or _introduces(waiting[-1], section)):
            section = _under(section.headings, [_as_one(waiting), section])
        elif waiting:
            merged[-1] = _under(merged[-1].headings, [merged[-1], _as_one(waiting)])
        waiting = []
        merged.append(section)
    if waiting and merged:
        merged[-1] = _under(merged[-1].headings, [merged[-1], _as_one(waiting)])
    elif waiting:
        merged.append(_as_one(waiting))
    return merged


def _introduces(tiny: Section, following: Section) -> bool:
    return following.headings[: len(tiny.headings)] == tiny.headings


def _as_one(sections: list[Section]) -> Section:
    """Sections under the headings that they share."""
    if len(sections) == 1:
        return sections[0]
    shared = sections[0].headings
    for section in sections[1:]:
        shared = shared[: _shared_length(shared, section.headings)]
    return _under(shared, sections)


def _under(headings: tuple[str, ...], sections: list[Section]) -> Section:
    return Section(headings, tuple(block for section in sections for block in _moved_blocks(section, headings)))


def _moved_blocks(section: Section, headings: tuple[str, ...]) -> tuple[Block, ...]:
    """Blocks of a section under other headings: what its own say beyond those is put before its first block."""
    own = HEADING_SEPARATOR.join(section.headings[_shared_length(section.headings, headings) :])
    if not own:
        return section.blocks
    if not section.blocks:
        return (Block(own),)
    first = section.blocks[0]
    return (replace(first, text=f"{own}\n{first.text}"), *section.blocks[1:])


def _shared_length(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
