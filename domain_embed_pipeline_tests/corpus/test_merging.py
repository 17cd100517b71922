from __future__ import annotations

from domain_embed_pipeline.corpus.merging import merge_tiny_sections
from domain_embed_pipeline.corpus.structure import Block, Section

LONG = "one two three four five six"


def section(path: str, text: str) -> Section:
    return Section(tuple(path.split("/")) if path else (), (Block(text),) if text else ())


def merged(*sections: Section) -> list[tuple[str, str]]:
    """(path, text) after merging; fewer than five words are tiny."""
    result = merge_tiny_sections(
        sections, is_tiny=lambda each: sum(len(block.text.split()) for block in each.blocks) < 5
    )
    return [("/".join(each.headings), "\n\n".join(block.text for block in each.blocks)) for each in result]


def test_sections_of_some_size_stay_as_they_are() -> None:
    assert merged(section("A", LONG), section("B", LONG)) == [("A", LONG), ("B", LONG)]


def test_a_tiny_introduction_goes_to_the_section_that_it_introduces() -> None:
    assert merged(section("A", LONG), section("B", "In short."), section("B/C", LONG)) == [
        ("A", LONG),
        ("B/C", f"In short.\n\n{LONG}"),
    ]


def test_a_tiny_section_goes_to_the_one_before_with_its_heading_as_text() -> None:
    assert merged(section("A", LONG), section("B", "See above."), section("C", LONG)) == [
        ("A", f"{LONG}\n\nB\nSee above."),
        ("C", LONG),
    ]


def test_tiny_sections_in_a_row_join_under_the_headings_that_they_share() -> None:
    af, mi = section("Terms/AF", "Atrial fibrillation."), section("Terms/MI", "Myocardial infarction, heart attack.")
    assert merged(af, mi) == [("Terms", "AF\nAtrial fibrillation.\n\nMI\nMyocardial infarction, heart attack.")]


def test_a_tiny_section_alone_in_its_document_stays() -> None:
    assert merged(section("A", "Short.")) == [("A", "Short.")]


def test_a_tiny_first_section_without_company_goes_to_the_next() -> None:
    assert merged(section("A", "Short."), section("B", LONG)) == [("B", f"A\nShort.\n\n{LONG}")]


def test_a_heading_with_nothing_under_it_is_kept_as_text() -> None:
    assert merged(section("A", LONG), section("Read more", "")) == [("A", f"{LONG}\n\nRead more")]


def test_no_text_is_lost_in_a_long_run_of_tiny_sections() -> None:
    sections = [section(f"T/{number}", f"word{number}") for number in range(1000)]
    text = "\n".join(text for _, text in merged(*sections))
    assert all(f"word{number}" in text.split() for number in range(1000))
