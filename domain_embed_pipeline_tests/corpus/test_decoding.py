from __future__ import annotations

import random

import pytest

from domain_embed_pipeline.corpus.decoding import decode_text
from domain_embed_pipeline.errors import UnreadableDocumentError

GERMAN = "Der Patient wurde am Montag mit Brustschmerzen über die Notaufnahme aufgenommen. Die Größe war 1,80 m."
FRENCH = (
    "Le patient présente une douleur thoracique depuis ce matin. L'examen a été réalisé à l'arrivée. Où est-il né ?"
)
ENGLISH = (
    "It’s the patient’s “history” – taken at admission. The rest of the text is plain English and goes on for a while."
)
POLISH = (
    "Pacjent zgłosił się z bólem w klatce piersiowej. Został przyjęty na oddział, żeby wykonać badania. Źródło łączy."
)
CZECH = "Pacient byl přijat na oddělení s bolestí na hrudi. Vyšetření ukázalo, že stav je vážný. Léčba začala ihned."
TURKISH = "Hasta göğüs ağrısı ile acil servise başvurdu. Şikâyetleri sabah başlamıştı. Çok iyi değildi, ışık."
RUSSIAN = "Пациент поступил в отделение с болью в груди. Состояние средней тяжести. Назначено лечение."
EURO = "Le prix est de 30 €, la somme a été payée à l'été par le père de la mariée, qui était très gêné."


def reason_of(data: bytes) -> str:
    with pytest.raises(UnreadableDocumentError) as caught:
        decode_text(data)
    return caught.value.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_or_without_a_mark_is_read(encoding: str) -> None:
    assert decode_text(RUSSIAN.encode(encoding)).text == RUSSIAN


@pytest.mark.parametrize("text", [GERMAN, FRENCH, ENGLISH])
def test_windows_1252_in_a_western_language_is_read_and_named(text: str) -> None:
    decoded = decode_text(text.encode("cp1252"))
    assert (decoded.text, decoded.encoding) == (text, "windows-1252")


def test_latin_1_with_its_accents_far_into_a_long_english_file_is_read() -> None:
    text = "Plain English for a long while. " * 20_000 + GERMAN
    assert decode_text(text.encode("latin-1")).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (POLISH, "cp1250"),
        (CZECH, "cp1250"),
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (FRENCH, "mac-roman"),
        (EURO, "iso8859-15"),
        ("Douleur aiguë", "latin-1"),
    ],
)
def test_what_might_be_another_encoding_is_refused_rather_than_guessed(text: str, encoding: str) -> None:
    assert reason_of(text.encode(encoding)) == "not_text"


def test_damaged_utf_8_is_not_taken_for_latin_1() -> None:
    data = FRENCH.encode()
    assert reason_of(data[:60] + b"\xff" + data[60:]) == "not_text"


def test_a_declared_encoding_is_believed_when_it_fits() -> None:
    assert decode_text(RUSSIAN.encode("cp1251"), declared_encoding="windows-1251").text == RUSSIAN


def test_an_unknown_declared_encoding_does_not_hide_utf_8() -> None:
    assert decode_text(RUSSIAN.encode(), declared_encoding="x-none").text == RUSSIAN


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00\x00", random.Random(0).randbytes(4_000), b"\x01\x02abc" * 50])
def test_bytes_that_are_no_text_are_binary(data: bytes) -> None:
    assert reason_of(data) == "binary"


def test_bytes_that_start_as_utf_16_but_are_not_are_refused() -> None:
    assert reason_of("text".encode("utf-16") + b"\x00") == "not_text"


def test_line_ends_become_line_feeds_and_stray_controls_go() -> None:
    assert decode_text(b"a\r\nb\rc\x0cd " + b"x" * 500 + b"\x07").text == "a\nb\nc\nd " + "x" * 500
