from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.evaluation.charts import Bar, Curve, curve_chart, interval_chart
from domain_embed_pipeline.evaluation.comparators import Alternative, Workload, comparator_table
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, References, compare
from domain_embed_pipeline.evaluation.records import Evaluation, GuardResult
from domain_embed_pipeline.evaluation.report import (
    ReportInputs,
    changed_queries,
    render_report,
    write_report,
)
from domain_embed_pipeline.evaluation.slices import Slice
from domain_embed_pipeline.evaluation.vocabulary import NearestTerms
from domain_embed_pipeline_tests.evaluation.helpers import chunk_of, evaluation_of, rows_with

PASSED = CertificateOutcome("sha256:1", passed=True)
BASE = evaluation_of(rows_with([1] * 40 + [8] * 60), "all-MiniLM-L6-v2")
GOOD = evaluation_of(rows_with([2] * 3 + [1] * 67 + [8] * 30), "model-1")
PART = Slice("style", "keywords", frozenset(f"q{place:04d}" for place in range(50)))
VOID = {"meta", "link", "br", "img", "hr", "input"}


class WellFormed(HTMLParser):
    """Fails on a tag that is not closed, and gathers ids and references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(**changes: Any) -> str:
    inputs: dict[str, Any] = {
        "comparison": compare(GOOD, References(BASE, serving=BASE), certificate=PASSED, slices=[PART]),
        "candidate": GOOD,
        "base": BASE,
        "serving": BASE,
        "chunks": {"answer": chunk_of("answer", "The stent <b>goes</b> in. " * 30, title="Stents & grafts")},
    }
    return render_report(ReportInputs(**inputs | changes))


def test_the_page_is_well_formed_and_every_link_stays_inside_it() -> None:
    parser = WellFormed()
    parser.feed(full_page())
    assert parser.open == []
    assert parser.targets
    assert all(target.startswith("#") and target[1:] in parser.ids for target in parser.targets)


def full_page() -> str:
    alternatives = [Alternative("BM25", "bm25", BASE.query_results, 0.5, terms_per_chunk=80)]
    guard = GuardResult("everyday", "ndcg_at_10", 66, 0.8, 0.7, -0.1, -0.15, -0.05, 0.001, "worse")
    comparison = dataclasses.replace(
        compare(GOOD, References(BASE, serving=BASE), certificate=PASSED, slices=[PART]),
        comparators=comparator_table(alternatives, workload=Workload()),
        recommendation="Fine-tune.",
        general_ability=(guard,),
    )
    return page(
        comparison=comparison,
        certificate={"Test queries in training": 0},
        lineage={"Parent": "model-0"},
        settings={"Epochs": 2},
        cost={"Questions": "$3.12"},
        curves=[Curve("Training loss", (0, 10, 20), (3.0, 1.0, 0.5))],
        problems={"text-9": "no answer"},
        vocabulary=[NearestTerms("NSTEMI", ("stem",), ("infarction",))],
    )


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = full_page()
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


def test_every_section_that_was_given_is_there() -> None:
    text = full_page()
    for expected in (
        "Better",
        "Recall@5 0.400 → 0.700",
        "What is live now reaches",
        "keywords",
        "Test queries in training",
        "model-0",
        "Epochs",
        "$3.12",
        "Training loss",
        "BM25",
        "NSTEMI",
        "everyday",
        "forgot",
        "text-9 could not be measured",
    ):
        assert expected in text


def test_sections_without_content_are_left_out() -> None:
    text = page(comparison=compare(GOOD, References(BASE), certificate=PASSED), serving=None)
    for absent in ("Live now", "What is live", "Vocabulary", "Should one fine-tune", "Lineage", 'id="slices"'):
        assert absent not in text


def test_text_of_documents_and_queries_is_escaped_and_cut() -> None:
    text = page()
    assert "<b>goes</b>" not in text
    assert "&lt;b&gt;goes&lt;/b&gt;" in text
    assert "Stents &amp; grafts" in text
    assert " …" in text


@pytest.mark.parametrize(
    ("candidate", "word"), [(GOOD, "Better: fit to go live"), (BASE, "Not shown to be better"), (None, "Worse: keep")]
)
def test_the_verdict_is_in_plain_words(candidate: Evaluation | None, word: str) -> None:
    candidate = candidate or evaluation_of(rows_with([1] * 10 + [8] * 90), "bad")
    text = page(comparison=compare(candidate, References(BASE), certificate=PASSED), candidate=candidate)
    assert word in text


def test_a_certificate_that_did_not_pass_stands_out() -> None:
    refused = compare(GOOD, References(BASE), certificate=CertificateOutcome("sha256:1", passed=False))
    assert "<td>NO</td>" in page(comparison=refused)


def test_changed_queries_are_the_ten_largest_changes_in_each_direction() -> None:
    improved, worsened = changed_queries(GOOD, BASE)
    assert len(improved) == 10
    assert {before.query_id for before, _ in worsened} == {"q0000", "q0001", "q0002"}
    changes = [after.ndcg_at_10 - before.ndcg_at_10 for before, after in improved]
    assert changes == sorted(changes, reverse=True)
    assert min(changes) > 0


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1280])
def test_no_part_of_the_page_is_wider_than_a_phone_or_a_desktop(width: int, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "Install Chromium to run browser tests."
    wrapper = tmp_path / "wrapper.html"
    script = (
        "document.querySelector('iframe').onload = event => { const page = event.target.contentDocument"
        ".documentElement; document.body.textContent = `width ${page.scrollWidth} of ${page.clientWidth}`; }"
    )
    wrapper.write_text(
        f'<body><iframe width="{width}" height="800" srcdoc="{escape(full_page())}"></iframe><script>{script}</script>',
        encoding="utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [chromium, *flags, "--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    match = re.search(r"width (\d+) of (\d+)", dumped)
    assert match, dumped[-500:]
    assert int(match[1]) <= int(match[2])


def test_equal_inputs_give_equal_pages() -> None:
    assert full_page() == full_page()


def test_the_page_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(ReportInputs(compare(GOOD, References(BASE), certificate=PASSED), GOOD, BASE), str(path))
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_mean_of_one_half_stands_in_the_middle_of_the_axis() -> None:
    left = interval_chart([("Recall@5", [Bar("candidate", "model", 0.0, 0.0, 0.0)])], title="t")
    middle = interval_chart([("Recall@5", [Bar("candidate", "model", 0.5, 0.4, 0.6)])], title="t")
    right = interval_chart([("Recall@5", [Bar("candidate", "model", 1.0, 1.0, 1.0)])], title="t")
    ends = [float(re.findall(r'<circle class="candidate" cx="([\d.]+)"', chart)[0]) for chart in (left, middle, right)]
    assert ends[1] == pytest.approx((ends[0] + ends[2]) / 2)
    assert "0.500, 95% interval 0.400 to 0.600" in middle


def test_a_curve_of_one_point_is_drawn() -> None:
    assert "<circle" in curve_chart(Curve("loss", (5,), (0.3,)), title="loss")
