"""Word documents (.docx) to HTML to sections. Pictures are left out; headings are those that Word's styles name."""

from __future__ import annotations

import io
import zipfile

from domain_embed_pipeline.corpus.readers.html import markdown_of
from domain_embed_pipeline.corpus.readers.markdown import parse_markdown
from domain_embed_pipeline.corpus.structure import ParsedDocument
from domain_embed_pipeline.errors import UnreadableDocumentError

_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0"
_TITLE_STYLE = "p[style-name='Title'] => h1.document-title:fresh"


def parse_docx(data: bytes, *, most_unpacked_bytes: int) -> ParsedDocument:
    """Sections of a Word document. The title is the paragraph in Word's Title style, else a sole outermost heading.

    Raises:
        UnreadableDocumentError: `unreadable` if encrypted or no DOCX at all, `too_large` if it unpacks to more than
            `most_unpacked_bytes`.
    """
    import mammoth
    from bs4 import BeautifulSoup

    _check_archive(data, most_unpacked_bytes)
    no_image = mammoth.images.img_element(lambda image: {"src": ""})
    html = mammoth.convert_to_html(io.BytesIO(data), style_map=_TITLE_STYLE, convert_image=no_image).value
    soup = BeautifulSoup(html, "html.parser")
    titles = soup.select("h1.document-title")
    title = " ".join(element.get_text(" ") for element in titles)
    for element in [*titles, *soup("img")]:
        element.decompose()
    return parse_markdown(markdown_of(soup), stated_title=title)


def _check_archive(data: bytes, most_unpacked_bytes: int) -> None:
    if data.startswith(_OLE_SIGNATURE):
        raise UnreadableDocumentError("unreadable", "encrypted, or a .doc of before 2007 under another name")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist() if entry.filename.endswith(".xml"))
    if unpacked > most_unpacked_bytes:
        raise UnreadableDocumentError("too_large", f"unpacks to {unpacked} bytes of XML")
