"""HTML to Markdown to sections. Navigation, footers, scripts and other furniture of a page are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.corpus.readers.markdown import parse_markdown
from domain_embed_pipeline.corpus.structure import ParsedDocument

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_FURNITURE = "nav, footer, script, style, noscript, template, svg, iframe, form, button, [hidden], [aria-hidden=true]"
_FURNITURE_ROLES = "[role=navigation], [role=search], [role=contentinfo], [role=banner]"


def declared_encoding_of(data: bytes) -> str | None:
    """Encoding that an HTML page names in its head, if any."""
    from bs4.dammit import EncodingDetector

    return EncodingDetector.find_declared_encoding(data, is_html=True)


def parse_html(html: str) -> ParsedDocument:
    """Sections of a page. The title is its sole outermost heading, else `<title>`."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    stated_title = soup.title.get_text(" ") if soup.title else ""
    for element in soup.select(f"head, {_FURNITURE}, {_FURNITURE_ROLES}"):
        element.decompose()
    for image in soup("img"):
        image.replace_with(str(image.get("alt") or ""))
    main = soup.find("main")
    content = main if main is not None and main.get_text(strip=True) else soup
    return parse_markdown(markdown_of(content), stated_title=stated_title, prefer_heading=True)


def markdown_of(content: BeautifulSoup | Tag) -> str:
    """Markdown of parsed HTML, with what only looks like markup escaped."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """As upstream, but for code blocks."""

        def convert_pre(self, el: Any, text: str, parent_tags: Any) -> str:
            """A code block between fences; an empty one is nothing."""
            # A fence longer than any inside, so that code about Markdown does not end its own block.
            longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"\n\n{fence}\n{text.strip(chr(10))}\n{fence}\n\n" if text.strip() else ""

    converter = Converter(heading_style="ATX", escape_misc=True, strip=["a"], table_infer_header=True)
    return converter.convert_soup(content)
