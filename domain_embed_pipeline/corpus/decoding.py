"""Bytes to text. A wrong guess of the encoding poisons every chunk of a file, so there is hardly any guessing.

Accepted: UTF-8, UTF-16 and UTF-32 with a byte order mark, an encoding that the document itself declares (HTML), and
Windows-1252 (with it Latin-1) where a detector recognises a Western European language without a doubt.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from domain_embed_pipeline.errors import UnreadableDocumentError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WINDOWS_1252_LANGUAGES = frozenset(
    ("Danish Dutch English Finnish French German Indonesian Italian Norwegian Portuguese Spanish Swedish").split()
)
_SAMPLE_BYTES = 65_536
_SURROUNDINGS = 200
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# Free detection took naïve for naďve (cp1250) and Polish for cp1257, both with a coherence near 0.6. Of 26 samples in
# 18 languages and 12 encodings, cp1252 alone with these two bounds and the languages above took none wrongly but
# ISO-8859-15, which differs in eight characters; its euro sign is asked for below.
_LEAST_COHERENCE = 0.5
_MOST_CONTROL_SHARE = 0.005
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Text with line ends made line feeds and control characters removed."""

    text: str
    encoding: str
    """`utf-8`, or the encoding that was read instead."""


def decode_text(data: bytes, *, declared_encoding: str | None = None) -> DecodedText:
    """Text of a file.

    Args:
        data: All bytes of the file.
        declared_encoding: Encoding that the document names; tried after UTF-8.

    Raises:
        UnreadableDocumentError: `binary` or `not_text`.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return DecodedText(_clean(_decode_marked(data, encoding)), encoding)
    if b"\x00" in data:
        raise UnreadableDocumentError("binary", f"NUL byte at offset {data.index(0)}")
    try:
        return DecodedText(_clean(data.decode("utf-8-sig")), "utf-8")
    except UnicodeDecodeError as error:
        return _decode_legacy(data, declared_encoding, error)


def _decode_marked(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableDocumentError("not_text", f"starts as {encoding} but is not: {error.reason}") from error


def _decode_legacy(data: bytes, declared_encoding: str | None, error: UnicodeDecodeError) -> DecodedText:
    if declared_encoding:
        try:
            return DecodedText(_clean(data.decode(declared_encoding)), declared_encoding.lower())
        except (UnicodeDecodeError, LookupError):
            pass  # A false declaration leaves the question open; the detector below decides.
    if _is_windows_1252(data):
        return DecodedText(_clean(data.decode("cp1252")), "windows-1252")
    raise UnreadableDocumentError(
        "not_text",
        f"not UTF-8 at byte {error.start} and no other encoding is certain; convert it, for example with "
        "`iconv -f LATIN1 -t UTF-8`",
    )


def _is_windows_1252(data: bytes) -> bool:
    from charset_normalizer import from_bytes

    if any(ord(character) > 127 and character != "\ufffd" for character in data.decode("utf-8", "replace")):
        return False  # UTF-8 sequences among the broken bytes: a damaged UTF-8 file.
    match = from_bytes(_sample(data), cp_isolation=["cp1252"]).best()
    if match is None or match.encoding != "cp1252":
        return False
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return (
        match.chaos == 0.0
        and match.coherence >= _LEAST_COHERENCE
        and match.language in _WINDOWS_1252_LANGUAGES
        and "¤" not in text
    )


def _sample(data: bytes) -> bytes:
    """What surrounds the bytes in question: the detector itself looks at a few places only, wherever they are."""
    parts: list[bytes] = []
    end = size = 0
    for match in _NOT_ASCII.finditer(data):
        if match.start() >= end and size < _SAMPLE_BYTES:
            start, end = max(end, match.start() - _SURROUNDINGS), match.start() + _SURROUNDINGS
            parts.append(data[start:end])
            size += end - start
    return b"\n".join(parts)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    cleaned = _CONTROLS.sub("", text)
    if len(text) - len(cleaned) > _MOST_CONTROL_SHARE * len(text):
        raise UnreadableDocumentError("binary", f"{len(text) - len(cleaned)} control characters")
    return cleaned
