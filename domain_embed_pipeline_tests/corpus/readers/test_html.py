from __future__ import annotations

from domain_embed_pipeline.corpus.readers.html import declared_encoding_of, parse_html
from domain_embed_pipeline.corpus.structure import ParsedDocument

PAGE = """<!doctype html><html><head><title>Chest pain - Example Hospital</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><header role="banner">Example Hospital</header>
<h1>Chest pain</h1><p>Give <b>aspirin</b> &amp; call <a href="x">help</a>.</p>
<h2>Doses</h2><table><tr><td>ASA</td><td>300 mg</td></tr><tr><td>GTN</td><td>0.4 mg</td></tr></table>
<ul><li>one</li><li>two<ul><li>three</li></ul></li></ul>
<pre># not a heading
run &lt;host&gt;</pre>
<script>track()</script><noscript>Enable scripts</noscript><footer>Imprint</footer></body></html>"""


def all_text(parsed: ParsedDocument) -> str:
    return "\n".join(block.text for section in parsed.sections for block in section.blocks)


def test_a_page_becomes_sections_under_its_headings() -> None:
    parsed = parse_html(PAGE)
    assert parsed.title == "Chest pain"
    assert [section.headings for section in parsed.sections] == [(), ("Doses",)]
    assert parsed.sections[0].blocks[0].text == "Give aspirin & call help."
    assert [block.text for block in parsed.sections[1].blocks] == [
        "ASA | 300 mg\nGTN | 0.4 mg",
        "- one\n- two\n  - three",
        "# not a heading\nrun <host>",
    ]


def test_navigation_scripts_and_footers_are_left_out() -> None:
    text = all_text(parse_html(PAGE))
    assert not any(word in text for word in ("Home", "track", "Enable", "Imprint", "Example Hospital"))


def test_a_page_without_headings_takes_its_title_element() -> None:
    assert parse_html("<title>Chest pain</title><p>Text.</p>").title == "Chest pain"


def test_only_the_main_part_of_a_page_counts_where_one_is_marked() -> None:
    parsed = parse_html("<body><div>Cookies?</div><main><h1>T</h1><p>Text.</p></main><aside>Ads</aside></body>")
    assert all_text(parsed) == "Text."


def test_text_that_looks_like_markdown_stays_text() -> None:
    parsed = parse_html("<p># not a heading</p><p>1. not a list</p><p>5 * 3 * 2 and snake_case_name</p>")
    assert parsed.title == ""
    assert all_text(parsed) == "# not a heading\n1. not a list\n5 * 3 * 2 and snake_case_name"


def test_code_that_holds_a_fence_does_not_end_its_own_block() -> None:
    parsed = parse_html("<h1>T</h1><pre>```\n# inside\n```</pre><p>After.</p>")
    assert all_text(parsed) == "```\n# inside\n```\nAfter."


def test_a_picture_is_read_as_its_description() -> None:
    assert all_text(parse_html('<p>See <img src="x.png" alt="ECG of AF"> here.</p>')) == "See ECG of AF here."


def test_the_declared_encoding_is_found() -> None:
    assert declared_encoding_of(b'<html><head><meta charset="windows-1251"></head>') == "windows-1251"
