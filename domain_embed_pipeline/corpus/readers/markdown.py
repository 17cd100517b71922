"""Markdown to sections of plain text. HTML and DOCX come here too, after conversion.

CommonMark and tables by markdown-it-py: a `#` in a code fence is no heading, an underlined line is one. Emphasis marks
and link targets are left out, for they cost tokens and mean nothing to an encoder; code and table cells stay as they
are. Of front matter (`---` YAML, `+++` TOML) only the title is kept.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from domain_embed_pipeline.corpus.structure import ParsedDocument, SectionBuilder

_FRONT_MATTER = re.compile(r"\A\s*(---|\+\+\+)[ \t]*\n(.*?)\n(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_LONGEST_FRONT_MATTER = 20_000
_HTML_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
# Other angle brackets in running text are placeholders such as <host> and stay.
_INLINE_TAGS = frozenset(
    (
        "a abbr b big br center cite code del details dfn div em figure font i img ins kbd mark p picture q s samp "
        "small source span strike strong sub summary sup table tbody td th thead tr tt u ul ol li var video wbr"
    ).split()
)


def parse_markdown(text: str, *, stated_title: str = "", prefer_heading: bool = False) -> ParsedDocument:
    """Sections of a Markdown text, each under its heading path.

    Args:
        text: The whole file, front matter included.
        stated_title: Title known from elsewhere; front matter overrides it.
        prefer_heading: A sole outermost heading wins over the stated title.
    """
    front_title, body = _split_front_matter(text)
    walker = _Walker()
    walker.walk(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body))
    return walker.builder.finish(front_title or stated_title, prefer_heading=prefer_heading and not front_title)


def _split_front_matter(text: str) -> tuple[str, str]:
    """Title in the front matter (empty without one) and the text that follows."""
    match = _FRONT_MATTER.match(text[:_LONGEST_FRONT_MATTER])
    if not match:
        return "", text
    load: Callable[[str], object] = yaml.safe_load if match[1] == "---" else tomllib.loads
    try:
        fields = load(match[2])
    except (yaml.YAMLError, ValueError, RecursionError):
        return "", text
    if not isinstance(fields, dict):
        return "", text
    return str(fields.get("title") or ""), text[match.end() :]


class _Walker:
    """Goes through the token stream once and fills a `SectionBuilder`."""

    def __init__(self) -> None:
        self.builder = SectionBuilder()
        self._lines: list[str] = []
        self._markers: list[str] = []
        self._cells: list[str] | None = None
        self._depth = 0

    def walk(self, tokens: Sequence[Token]) -> None:
        """Put every token where it belongs; a heading's text comes in the token after its opening."""
        opener = ""
        for token in tokens:
            if token.type == "inline":
                self._add_inline(opener, token)
            elif token.type in ("fence", "code_block"):
                self._add_code(token.content.rstrip("\n"))
            elif token.type == "html_block":
                self._add_text(_text_of_html(token.content))
            elif token.type in _STRUCTURE:
                _STRUCTURE[token.type](self, token)
            opener = token.type if token.level == 0 and token.type == "heading_open" else ""
            if opener:
                opener = token.tag

    def _add_inline(self, heading_tag: str, token: Token) -> None:
        text = _text_of_inline(token.children or ())
        if heading_tag:
            self.builder.add_heading(int(heading_tag[1]), text)
        elif self._cells is not None:
            self._cells.append(" ".join(text.split()))
        else:
            self._add_text(text)

    def _add_text(self, text: str) -> None:
        if not self._depth:
            self.builder.add_block(text)
        elif text.strip():
            marker, self._markers[-1] = self._markers[-1], " " * len(self._markers[-1])
            self._lines.append("  " * (self._depth - 1) + marker + text.strip())

    def _add_code(self, code: str) -> None:
        if self._depth:
            self._lines += ["  " * self._depth + line for line in code.split("\n")]
        else:
            self.builder.add_block(code, "lines")

    def open_list(self, token: Token) -> None:
        """One level deeper: what lists hold becomes one block when the outermost ends."""
        self._depth += 1
        self._markers.append("")

    def open_item(self, token: Token) -> None:
        """The marker stands before the first line of the item only."""
        self._markers[-1] = f"{token.info}. " if token.info else "- "

    def close_list(self, token: Token) -> None:
        """One level up; the end of the outermost list ends the block."""
        self._depth -= 1
        self._markers.pop()
        if not self._depth:
            self.builder.add_block("\n".join(self._lines), "lines")
            self._lines = []

    def open_row(self, token: Token) -> None:
        """From here on, text goes into cells."""
        self._cells = []

    def close_row(self, token: Token) -> None:
        """One line a row; rows without any text are left out."""
        cells, self._cells = self._cells or [], None
        if any(cells):
            self._lines.append(" | ".join(cells))

    def close_table(self, token: Token) -> None:
        """One block, unless a list around it is still open."""
        if not self._depth:
            self.builder.add_block("\n".join(self._lines), "lines")
            self._lines = []


_STRUCTURE: dict[str, Callable[[_Walker, Token], None]] = {
    "bullet_list_open": _Walker.open_list,
    "ordered_list_open": _Walker.open_list,
    "list_item_open": _Walker.open_item,
    "bullet_list_close": _Walker.close_list,
    "ordered_list_close": _Walker.close_list,
    "tr_open": _Walker.open_row,
    "tr_close": _Walker.close_row,
    "table_close": _Walker.close_table,
}


def _text_of_inline(children: Sequence[Token]) -> str:
    parts = []
    for child in children:
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak":
            parts.append("\n")
        elif child.type == "html_inline":
            parts.append(_text_of_tag(child.content))
    return "".join(parts)


def _text_of_tag(tag: str) -> str:
    name = _HTML_TAG.match(tag)
    if name is None:
        return ""  # A comment or declaration.
    if name[1].lower() == "br":
        return "\n"
    return "" if name[1].lower() in _INLINE_TAGS else tag


def _text_of_html(html: str) -> str:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for element in soup(["script", "style", "template"]):
        element.decompose()
    return " ".join(soup.get_text(" ").split())
