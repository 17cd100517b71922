from __future__ import annotations

import pytest

from domain_embed_pipeline.corpus.readers.markdown import parse_markdown


def outline(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Title, and (heading path, text) of each section."""
    parsed = parse_markdown(text)
    return parsed.title, [
        (" > ".join(section.headings), "\n\n".join(block.text for block in section.blocks))
        for section in parsed.sections
    ]


def text_of(markdown: str) -> str:
    return "\n\n".join(text for _, text in outline(markdown)[1])


def test_the_sole_outermost_heading_is_the_title_and_the_others_are_paths() -> None:
    assert outline("# Chest pain\n\nIntro.\n\n## Signs\n\n### Early\n\nSweat.\n\n## Treatment\n\nAspirin.\n") == (
        "Chest pain",
        [("", "Intro."), ("Signs > Early", "Sweat."), ("Treatment", "Aspirin.")],
    )


def test_of_several_outermost_headings_none_is_the_title() -> None:
    assert outline("# One\n\nA.\n\n# Two\n\nB.\n") == ("", [("One", "A."), ("Two", "B.")])


def test_an_underlined_line_is_a_heading() -> None:
    assert outline("Chest pain\n==========\n\nText.\n") == ("Chest pain", [("", "Text.")])


@pytest.mark.parametrize("code", ["```sh\n# no heading\n```", "~~~\n# no heading\n~~~", "    # no heading"])
def test_a_hash_in_code_is_no_heading(code: str) -> None:
    assert outline(f"# Title\n\nText.\n\n{code}\n") == ("Title", [("", "Text.\n\n# no heading")])


def test_code_keeps_its_lines() -> None:
    (section,) = parse_markdown("```py\ndef f():\n    return 1\n```\n").sections
    assert (section.blocks[0].text, section.blocks[0].kind) == ("def f():\n    return 1", "lines")


def test_yaml_front_matter_gives_the_title_and_nothing_else() -> None:
    text = "---\ntitle: 'Chest pain: adults'\ntags: [a, b]\n---\n# Chest pain: adults\n\nText.\n"
    assert outline(text) == ("Chest pain: adults", [("", "Text.")])


def test_toml_front_matter_gives_the_title() -> None:
    assert outline('+++\ntitle = "Chest pain"\n+++\nText.\n') == ("Chest pain", [("", "Text.")])


def test_two_rules_around_text_are_no_front_matter() -> None:
    assert "Not a mapping" in text_of("---\n\nNot a mapping\n\n---\n\nText.\n")


def test_marks_of_emphasis_and_link_targets_are_left_out() -> None:
    assert text_of("Give **aspirin** _now_, see [the guide](https://example.org/x) and `dose_mg`.\n") == (
        "Give aspirin now, see the guide and dose_mg."
    )


def test_words_with_underscores_and_placeholders_stay() -> None:
    assert text_of("Run ping <host> with snake_case_name and 2 * 3 * 4.\n") == (
        "Run ping <host> with snake_case_name and 2 * 3 * 4."
    )


def test_html_inside_markdown_leaves_its_text_only() -> None:
    assert text_of("H<sub>2</sub>O<br>x <!-- note -->y\n\n<div><p>Inside</p><script>no()</script></div>\n") == (
        "H2O\nx y\n\nInside"
    )


def test_a_nested_list_is_one_block_of_whole_lines() -> None:
    (section,) = parse_markdown("- one\n  - two\n\n    more\n- three\n\n3. x\n4. y\n").sections
    assert [(block.text, block.kind) for block in section.blocks] == [
        ("- one\n  - two\n    more\n- three", "lines"),
        ("3. x\n4. y", "lines"),
    ]


def test_rows_of_a_table_are_lines_of_cells() -> None:
    (section,) = parse_markdown("| Drug | Dose |\n|---|---|\n| **ASA** | 300 mg |\n").sections
    assert (section.blocks[0].text, section.blocks[0].kind) == ("Drug | Dose\nASA | 300 mg", "lines")


def test_code_and_tables_inside_a_list_stay_in_their_order() -> None:
    text = text_of("- step\n\n  ```\n  run\n  ```\n\n- last\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |\n")
    assert [line.strip() for line in text.split("\n")] == ["- step", "run", "- last", "a | b", "1 | 2"]


def test_a_wrapped_paragraph_is_one_line() -> None:
    assert text_of("Give aspirin\nat once.\n") == "Give aspirin at once."


def test_a_quoted_heading_does_not_open_a_section() -> None:
    assert outline("# Title\n\n> # quoted\n> text\n") == ("Title", [("", "quoted\n\ntext")])


def test_a_heading_with_nothing_under_it_is_kept() -> None:
    assert outline("# Title\n\nText.\n\n## See also\n") == ("Title", [("", "Text."), ("See also", "")])
