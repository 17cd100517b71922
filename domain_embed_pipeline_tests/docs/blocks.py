"""Fenced code blocks of the documents, and what their marks say about running them.

A `bash` block is run by the tests, in the order of its page, in a folder of the page's scenario. HTML comments steer
it:

    <!-- commands: planted -->      once a page: which scenario (`running.py`) its blocks are run in
    <!-- not run: REASON -->        right before a block: it is parsed, not run
    <!-- background: PORT -->       right before a block: it is a server, which runs on until the page is done
    <!-- exit codes: 0 20 -->       right before a block: what counts as success
    <!-- file: NAME -->             right before a block of another language: it lies in the folder under this name
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline_tests.conftest import ROOT

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]+)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)
_MARK = re.compile(r"<!-- (?P<kind>[a-z ]+): (?P<value>[^>]*?) -->\s*\Z")
_SCENARIO = re.compile(r"<!-- commands: (?P<name>[\w-]+) -->")
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        """`docs/tutorial.md:12`."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command of a block."""

    place: str
    words: tuple[str, ...]
    variables: tuple[str, ...]
    """Names that are assigned before it or exported by it."""


def pages() -> list[Path]:
    """Every document for people, generated ones left out."""
    written = [
        path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference" or path.stem == "index"
    ]
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "deploy").glob("*.md"), *written])


def blocks_of(page: Path, *languages: str, root: Path = ROOT) -> list[Block]:
    """Blocks of a page in these languages, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in languages:
            line = text.count("\n", 0, match.start()) + 1
            name = page.relative_to(root).as_posix()
            body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.M)
            found.append(Block(name, line, match["language"], body, _marks_before(text[: match.start()])))
    return found


def _marks_before(text: str) -> dict[str, str]:
    marks = {}
    while match := _MARK.search(text):
        marks[match["kind"]] = match["value"]
        text = text[: match.start()]
    return marks


def scenario_of(page: Path) -> str | None:
    """The scenario that a page's blocks are run in."""
    match = _SCENARIO.search(page.read_text(encoding="utf-8"))
    return match["name"] if match else None


def files_of(page: Path, *, root: Path = ROOT) -> dict[str, str]:
    """Name -> content of the blocks that are files."""
    blocks = blocks_of(page, "yaml", "python", "text", "ini", root=root)
    return {block.marks["file"]: block.text for block in blocks if "file" in block.marks}


def commands_of(block: Block) -> Iterator[Command]:
    """The simple commands of a block: lines, and the parts between `&&`, `|` and `;`."""
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>()")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        part: list[str] = []
        for word in [*lexer, ";"]:
            if word in {"&&", "||", "|", ";", "&"}:
                if part:
                    yield _command(block.place, part)
                part = []
            else:
                part.append(word)


def _command(place: str, words: list[str]) -> Command:
    variables = []
    while words and _ASSIGNMENT.match(words[0]):
        variables.append(words.pop(0).partition("=")[0])
    if words and words[0] == "export":
        variables += [word.partition("=")[0] for word in words[1:]]
    for sign in (">", ">>", "<"):
        if sign in words:
            words = words[: words.index(sign)]
    return Command(place, tuple(words), tuple(variables))
