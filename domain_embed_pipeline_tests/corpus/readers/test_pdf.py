from __future__ import annotations

import pytest
from fpdf import FPDF

from domain_embed_pipeline.corpus.readers.pdf import parse_pdf
from domain_embed_pipeline.corpus.structure import ParsedDocument
from domain_embed_pipeline.errors import UnreadableDocumentError
from domain_embed_pipeline_tests.corpus.helpers import pdf_bytes

BODY = "Aspirin is given at once to every patient with chest pain unless an allergy is known to the team. " * 3


def outline(parsed: ParsedDocument) -> list[tuple[tuple[str, ...], list[str]]]:
    return [(section.headings, [block.text for block in section.blocks]) for section in parsed.sections]


def all_text(parsed: ParsedDocument) -> str:
    return "\n".join(block.text for section in parsed.sections for block in section.blocks)


def pdf_of_lines(lines: list[str]) -> bytes:
    """A page of 11 point lines, broken exactly as given."""
    document = FPDF()
    document.add_page()
    document.set_font("helvetica", size=11)
    for line in lines:
        document.cell(0, 5, line, new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())


def test_large_lines_are_headings_and_the_largest_is_the_title() -> None:
    pages = [[(20, "Chest pain"), (11, BODY), (14, "Doses"), (11, "300 mg.")], [(14, "Follow-up"), (11, "In a week.")]]
    parsed = parse_pdf(pdf_bytes(pages))
    assert parsed.title == "Chest pain"
    assert outline(parsed) == [((), [BODY.strip()]), (("Doses",), ["300 mg."]), (("Follow-up",), ["In a week."])]


def test_paragraphs_are_told_apart_by_the_gap_between_them() -> None:
    assert outline(parse_pdf(pdf_bytes([[(11, BODY), (11, BODY)]]))) == [((), [BODY.strip(), BODY.strip()])]


def test_running_headers_and_page_numbers_are_left_out() -> None:
    drugs = ["Heparin", "Morphine", "Nitrate", "Oxygen"]
    parsed = parse_pdf(pdf_bytes([[(11, f"{drug} comes next. {BODY}")] for drug in drugs], header="Ward handbook 2024"))
    text = all_text(parsed)
    assert "Ward handbook" not in text
    assert "Page" not in text
    assert text == "\n".join(f"{drug} comes next. {BODY.strip()}" for drug in drugs)


def test_equal_lines_that_stand_in_different_places_are_no_running_header() -> None:
    pages = [[(11, f"Ward {number}.\n" * number), (11, "Bring a coat."), (11, BODY)] for number in (1, 3, 5)]
    assert all_text(parse_pdf(pdf_bytes(pages))).count("Bring a coat.") == 3


def test_a_paragraph_goes_on_over_a_page_break() -> None:
    parsed = parse_pdf(pdf_bytes([[(11, "Give aspirin and")], [(11, "call for help.")]]))
    assert all_text(parsed) == "Give aspirin and call for help."


def test_a_word_hyphenated_at_a_line_end_is_mended() -> None:
    assert (
        all_text(parse_pdf(pdf_of_lines(["It is a myocar-", "dial infarction."]))) == "It is a myocardial infarction."
    )


def test_a_compound_that_the_document_writes_with_a_hyphen_keeps_it() -> None:
    lines = ["The follow-up is", "short. The next follow-", "up is long."]
    assert all_text(parse_pdf(pdf_of_lines(lines))) == "The follow-up is short. The next follow-up is long."


def test_a_table_of_contents_is_left_out() -> None:
    lines = ["Doses ............ 3", "Signs . . . . . . . . 4", "Give aspirin."]
    assert all_text(parse_pdf(pdf_of_lines(lines))) == "Give aspirin."


def test_without_headings_a_short_first_line_is_the_title() -> None:
    parsed = parse_pdf(pdf_bytes([[(11, "Chest pain"), (11, BODY)]]))
    assert (parsed.title, all_text(parsed)) == ("Chest pain", BODY.strip())


def test_a_title_left_by_the_authoring_program_does_not_count() -> None:
    document = FPDF()
    document.set_title("Microsoft Word - draft7.docx")
    document.add_page()
    document.set_font("helvetica", size=11)
    document.multi_cell(0, 5, BODY)
    assert parse_pdf(bytes(document.output())).title == ""


def test_where_most_text_is_large_size_marks_no_heading() -> None:
    parsed = parse_pdf(pdf_bytes([[(24, "Big words on a slide " * 5), (11, "Small print of about a hundred. " * 4)]]))
    assert all(section.headings == () for section in parsed.sections)
    assert "Big words" in all_text(parsed)


def test_a_scan_has_no_text() -> None:
    document = FPDF()
    document.add_page()
    document.rect(10, 10, 100, 100, style="F")
    with pytest.raises(UnreadableDocumentError, match="no_text"):
        parse_pdf(bytes(document.output()))


def test_a_password_is_named() -> None:
    with pytest.raises(UnreadableDocumentError, match="password"):
        parse_pdf(pdf_bytes([[(11, BODY)]], password="secret"))
