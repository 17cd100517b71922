from __future__ import annotations

from domain_embed_pipeline.evaluation.slices import Slice, compare_slices, make_slices
from domain_embed_pipeline_tests.evaluation.helpers import chunk_of, corpus_of, evaluation_set_of, rows_with

CORPUS = corpus_of(
    [
        chunk_of("c-1", "heart failure", document_id="cardiology/heart.md"),
        chunk_of("c-2", "stent " * 50, document_id="cardiology/stent.md"),
        chunk_of("c-3", "kidney failure " * 20, document_id="renal/kidney.md"),
    ]
)
SET = evaluation_set_of(
    {
        "q-1": ("heart failure", "test", ["c-1"]),
        "q-2": ("narrowed vessel opened by a small tube of metal", "test", ["c-2"]),
        "q-3": ("kidney failure at night", "test", ["c-3"]),
        "q-4": ("heart", "dev", ["c-1"]),
    },
    styles={"q-1": "keywords", "q-2": "situation", "q-3": "situation"},
)


def members(group: str) -> dict[str, set[str]]:
    return {part.name: set(part.query_ids) for part in make_slices(CORPUS, SET, "test") if part.group == group}


def test_every_query_of_the_split_is_in_one_slice_of_each_group() -> None:
    slices = make_slices(CORPUS, SET, "test")
    for group in {part.group for part in slices}:
        ids = [query_id for part in slices if part.group == group for query_id in part.query_ids]
        assert sorted(ids) == ["q-1", "q-2", "q-3"]


def test_slices_say_where_a_query_belongs() -> None:
    assert members("folder") == {"cardiology": {"q-1", "q-2"}, "renal": {"q-3"}}
    assert members("style") == {"keywords": {"q-1"}, "situation": {"q-2", "q-3"}}
    assert members("query length") == {
        "1 to 3 words": {"q-1"},
        "4 to 8 words": {"q-3"},
        "9 words and more": {"q-2"},
    }
    assert members("overlap") == {
        "1 up to a third": {"q-2"},
        "2 up to two thirds": {"q-3"},
        "3 nearly all": {"q-1"},
    }
    assert members("rare terms") == {"has one": {"q-1", "q-3"}, "has none": {"q-2"}}


def test_a_group_with_a_single_slice_is_left_out() -> None:
    one_style = evaluation_set_of({"q-1": ("heart failure", "test", ["c-1"]), "q-3": ("kidney", "test", ["c-3"])})
    assert "style" not in {part.group for part in make_slices(CORPUS, one_style, "test")}


def test_a_slice_is_worse_only_after_correction_for_their_number() -> None:
    # Six losses and no win: p is 0.031 alone, and not below 0.05 among several slices.
    reference, candidate = rows_with([1] * 6 + [8] * 54), rows_with([8] * 60)
    lost = Slice("style", "lost", frozenset(f"q{place:04d}" for place in range(20)))
    same = [
        Slice("style", f"same {part}", frozenset(f"q{place:04d}" for place in range(20 + part * 10, 30 + part * 10)))
        for part in range(4)
    ]
    alone = compare_slices(candidate, reference, [lost], metric="recall_at_5")
    among = compare_slices(candidate, reference, [lost, *same], metric="recall_at_5")
    assert alone[0].verdict == "worse"
    assert among[0].verdict == "not_shown"
    assert (among[0].query_count, among[0].difference) == (20, -0.3)


def test_a_handful_of_queries_is_shown_but_never_called_worse() -> None:
    part = Slice("style", "few", frozenset(f"q{place:04d}" for place in range(9)))
    (result,) = compare_slices(rows_with([8] * 9), rows_with([1] * 9), [part], metric="recall_at_5")
    assert (result.difference, result.verdict) == (-1.0, "not_shown")


def test_a_slice_without_queries_is_left_out() -> None:
    assert compare_slices(rows_with([1]), rows_with([1]), [Slice("style", "x", frozenset())], metric="mrr_at_10") == ()


def test_languages_are_told_apart_by_the_answers_and_a_lone_mistake_is_no_slice() -> None:
    german = "Der Patient klagt seit gestern Abend über starke Schmerzen in der Brust, die in den Arm ausstrahlen"
    english = "The patient has had severe chest pain since yesterday evening, which spreads into the left arm"
    chunks = [chunk_of(f"c-{place}", f"{german if place < 12 else english} {place}") for place in range(30)]
    rows = {f"q-{place:02d}": (f"pain {place}", "test", [f"c-{place}"]) for place in range(30)}
    found = {part.name: len(part.query_ids) for part in make_slices(corpus_of(chunks), evaluation_set_of(rows), "test")
             if part.group == "language"}  # fmt: skip
    assert found == {"de": 12, "en": 18}
    few = {query_id: row for query_id, row in rows.items() if query_id >= "q-10"}
    groups = {part.group for part in make_slices(corpus_of(chunks), evaluation_set_of(few), "test")}
    assert "language" not in groups
