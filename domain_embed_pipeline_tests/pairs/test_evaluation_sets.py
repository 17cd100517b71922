from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from domain_embed_pipeline.defs.config.training_data import EvaluationSetConfig
from domain_embed_pipeline.errors import CorpusTooSmallError, EvaluationSetError
from domain_embed_pipeline.ids import query_id_of
from domain_embed_pipeline.pairs.evaluation_sets import (
    EvaluationSetSettings,
    generated_evaluation_set,
    load_user_evaluation_set,
    minimum_detectable_effect,
    size_warnings,
)
from domain_embed_pipeline.pairs.splits import chunk_sides, split_documents
from domain_embed_pipeline_tests.pairs.helpers import (
    chunk_of,
    corpus_of,
    documents_of,
    evaluation_set_of,
    passage,
    question_of,
)

_DOSE = chunk_of("Bolus 80 units per kg.", "heparin.md", title="Heparin > Dose", external_ids=["H_0"])
_RISK = chunk_of("Watch the platelets.", "heparin.md", title="Heparin > Risk", position=1, external_ids=["H_1"])
_GOUT = chunk_of("Colchicine, low dose.", "gout.md", title="Gout", external_ids=["G_0"])
_CORPUS = corpus_of([_DOSE, _RISK, _GOUT])


def _beir(folder: Path, queries: dict[str, str], **qrels: list[tuple[str, str, int]]) -> str:
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": query_id, "text": text}) for query_id, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for split, rows in qrels.items():
        table = "".join(f"{query}\t{name}\t{score}\n" for query, name, score in rows)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + table, encoding="utf-8")
    return str(folder)


def _relevant(folder: str) -> dict[str, set[str]]:
    made = load_user_evaluation_set(folder, _CORPUS)
    relevant = made.relevant_chunks()
    return {query.text: set(relevant[query.query_id]) for query in made.queries}


@pytest.mark.parametrize(
    ("name", "chunks"),
    [("H_0", [_DOSE]), (_RISK.chunk_id, [_RISK]), ("heparin.md", [_DOSE, _RISK]), ("heparin.md#Risk", [_RISK])],
)
def test_relevance_is_named_by_chunk_document_or_heading(tmp_path: Path, name: str, chunks: list) -> None:
    folder = _beir(tmp_path, {"1": "heparin"}, test=[("1", name, 1)], dev=[])
    assert _relevant(folder) == {"heparin": {chunk.chunk_id for chunk in chunks}}


def test_a_query_may_have_several_relevant_chunks_and_irrelevant_ones_do_not_count(tmp_path: Path) -> None:
    rows = [("1", "H_0", 1), ("1", "G_0", 2), ("1", "H_1", 0)]
    assert _relevant(_beir(tmp_path, {"1": "dose"}, test=rows, dev=[])) == {"dose": {_DOSE.chunk_id, _GOUT.chunk_id}}


def test_query_ids_come_from_the_text_so_that_they_cannot_be_chunk_ids(tmp_path: Path) -> None:
    folder = _beir(tmp_path, {_DOSE.chunk_id: "heparin dose"}, test=[(_DOSE.chunk_id, "H_0", 1)], dev=[])
    (query,) = load_user_evaluation_set(folder, _CORPUS).queries
    assert query.query_id == query_id_of("heparin dose") != _DOSE.chunk_id


def test_queries_of_one_text_become_one_and_test_keeps_what_stands_in_both_files(tmp_path: Path) -> None:
    folder = _beir(
        tmp_path,
        {"1": "heparin dose", "2": "Heparin  dose?", "3": "gout"},
        dev=[("2", "H_1", 1), ("3", "G_0", 1)],
        test=[("1", "H_0", 1)],
    )
    made = load_user_evaluation_set(folder, _CORPUS)
    assert {query.text: query.split for query in made.queries} == {"heparin dose": "test", "gout": "dev"}
    assert made.relevant_chunks()[query_id_of("heparin dose")] == {_DOSE.chunk_id, _RISK.chunk_id}


def test_without_dev_judgments_a_stable_part_of_test_becomes_dev(tmp_path: Path) -> None:
    queries = {str(number): f"question {number} about gout" for number in range(200)}
    rows = [(query_id, "G_0", 1) for query_id in queries]
    few = _beir(tmp_path / "few", queries, test=rows[:100])
    many = _beir(tmp_path / "many", queries, test=list(reversed(rows)))
    before, after = (
        {query.text: query.split for query in load_user_evaluation_set(folder, _CORPUS).queries}
        for folder in (few, many)
    )
    assert before.items() <= after.items()
    assert 40 < list(after.values()).count("dev") < 80


def test_queries_that_name_nothing_in_the_corpus_are_listed_as_lost(tmp_path: Path) -> None:
    folder = _beir(
        tmp_path, {"1": "gout", "2": "lupus"}, test=[("1", "G_0", 1), ("2", "L_0", 1), ("9", "G_0", 1)], dev=[]
    )
    lost = load_user_evaluation_set(folder, _CORPUS).lost_queries
    assert {(row.text, row.detail) for row in lost} == {
        ("lupus", "No chunk of the corpus is named by L_0."),
        ("", "No query text in queries.jsonl for 9."),
    }


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        (None, "", r"queries\.jsonl does not exist"),
        ('{"_id": "1"}', "", "line 1.*is no query"),
        ('{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}', "", "line 2: the id '1' stands twice"),
        ('{"_id": "1", "text": "a"}', None, r"test\.tsv does not exist"),
        ('{"_id": "1", "text": "a"}', "query-id\tcorpus-id\tscore\n1\tG_0\tyes\n", "line 2.*is no judgment"),
        ('{"_id": "1", "text": "a"}', "query-id\tcorpus-id\tscore\n1 G_0 1\n", "line 2.*is no judgment"),
        ('{"_id": "1", "text": "a"}', "query-id\tcorpus-id\tscore\n1\tX\t1\n", "holds no usable query; 1 name nothing"),
    ],
)
def test_an_unusable_folder_says_where_and_why(
    tmp_path: Path, queries: str | None, qrels: str | None, message: str
) -> None:
    (tmp_path / "qrels").mkdir()
    if queries is not None:
        (tmp_path / "queries.jsonl").write_text(queries, encoding="utf-8")
    if qrels is not None:
        (tmp_path / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    with pytest.raises(EvaluationSetError, match=message) as caught:
        load_user_evaluation_set(str(tmp_path), _CORPUS)
    assert caught.value.fix


def test_judgments_without_header_and_in_four_columns_are_read(tmp_path: Path) -> None:
    folder = _beir(tmp_path, {"1": "heparin", "2": "gout"}, test=[], dev=[])
    (tmp_path / "qrels" / "test.tsv").write_text("1\tH_0\t1\n2\t0\tG_0\t1\n", encoding="utf-8")
    assert _relevant(folder) == {"heparin": {_DOSE.chunk_id}, "gout": {_GOUT.chunk_id}}


def test_the_version_depends_on_queries_and_judgments_only(tmp_path: Path) -> None:
    first = _beir(tmp_path / "1", {"1": "gout", "2": "dose"}, test=[("1", "G_0", 1), ("2", "H_0", 1)], dev=[])
    same = _beir(tmp_path / "2", {"b": "dose", "a": "gout"}, test=[("b", "H_0", 1), ("a", "gout.md", 1)], dev=[])
    other = _beir(tmp_path / "3", {"1": "gout", "2": "dose"}, test=[("1", "G_0", 1)], dev=[("2", "H_0", 1)])
    versions = [load_user_evaluation_set(folder, _CORPUS).evaluation_set_version for folder in (first, same, other)]
    assert versions[0] == versions[1] != versions[2]


_STYLES = ("natural", "keyword", "symptom", "paraphrase")
_BIG = corpus_of(documents_of(60))
_SPLITS = split_documents(_BIG, has_user_queries=False)
_QUESTIONS = [
    question_of(chunk, f"{style} question about case {place} of {chunk.title.split(' >')[0]}", style)
    for place, chunk in enumerate(_BIG.chunks)
    for style in _STYLES
]


def test_generated_queries_come_from_held_out_documents_on_their_own_side() -> None:
    made = generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS)
    sides = chunk_sides(_BIG, _SPLITS)
    relevant = made.relevant_chunks()
    assert made.origin == "generated"
    assert {query.split for query in made.queries} == {"dev", "test"}
    for query in made.queries:
        assert {sides[chunk_id] for chunk_id in relevant[query.query_id]} == {query.split}


def test_styles_are_mixed_evenly_and_chunks_are_capped() -> None:
    made = generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS)
    counts = Counter(query.style for query in made.queries)
    assert max(counts.values()) - min(counts.values()) <= 2
    chunks = Counter(row.chunk_id for row in made.qrels)
    assert set(chunks.values()) == {2}


def test_a_mix_of_its_own_may_leave_a_style_out() -> None:
    settings = EvaluationSetSettings(
        style_shares=(("keyword", 3.0), ("natural", 1.0)), max_test_queries=8, max_queries_per_chunk=4
    )
    made = generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS, settings=settings)
    assert Counter(query.style for query in made.queries_of("test")) == {"keyword": 6, "natural": 2}


def test_a_mix_of_styles_that_do_not_exist_is_refused_by_name() -> None:
    settings = EvaluationSetSettings(style_shares=(("keywords", 1.0),))
    with pytest.raises(EvaluationSetError, match="asks for keywords; the questions are in the styles keyword, natural"):
        generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS, settings=settings)


def test_the_run_knobs_reach_the_library() -> None:
    assert EvaluationSetConfig().to_settings() == EvaluationSetSettings()
    chosen = EvaluationSetConfig(style_shares={"keyword": 3.0, "natural": 1.0}, max_test_queries=8).to_settings()
    made = generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS, settings=chosen)
    assert {query.style for query in made.queries} == {"keyword", "natural"}
    assert len(made.queries_of("test")) == 8


def test_near_duplicates_of_the_source_are_relevant_too() -> None:
    sides = chunk_sides(_BIG, _SPLITS)
    source = next(chunk for chunk in _BIG.chunks if sides[chunk.chunk_id] == "test")
    twin = chunk_of(source.text, source.document_id, title="Same text elsewhere", position=9)
    corpus = corpus_of([*_BIG.chunks, twin])
    splits = split_documents(corpus, has_user_queries=False)
    made = generated_evaluation_set(corpus, splits, [question_of(source, "what happened in this very case")])
    assert made.relevant_chunks() == {made.queries[0].query_id: {source.chunk_id, twin.chunk_id}}


def test_junk_and_chunks_on_several_sides_are_not_asked_about() -> None:
    notice = passage(99)
    corpus = corpus_of([*_BIG.chunks, *(chunk_of(notice, document.document_id) for document in _BIG.documents)])
    splits = split_documents(corpus, has_user_queries=False)
    sides = chunk_sides(corpus, splits)
    held_out = next(chunk for chunk in corpus.chunks if sides[chunk.chunk_id] == "test")
    shared = next(chunk for chunk in corpus.chunks if chunk.text == notice)
    made = generated_evaluation_set(
        corpus,
        splits,
        [
            question_of(held_out, "what raises the pressure on that ward"),
            question_of(held_out, "What does this passage say?"),
            question_of(shared, "what stands in the shared notice"),
        ],
    )
    assert [query.text for query in made.queries] == ["what raises the pressure on that ward"]


def test_without_a_question_about_a_test_document_the_user_is_asked_for_queries() -> None:
    with pytest.raises(CorpusTooSmallError, match=r"None of the 0 questions.*Supply your own queries"):
        generated_evaluation_set(_BIG, _SPLITS, [])


def test_the_order_of_questions_changes_nothing() -> None:
    made = generated_evaluation_set(_BIG, _SPLITS, _QUESTIONS)
    assert generated_evaluation_set(_BIG, _SPLITS, list(reversed(_QUESTIONS))) == made


def test_the_minimum_detectable_effect_falls_with_the_root_of_the_queries() -> None:
    assert minimum_detectable_effect(100) == pytest.approx(0.126)
    assert minimum_detectable_effect(400) == pytest.approx(0.063)
    assert minimum_detectable_effect(0) == float("inf")


def test_a_small_set_says_what_it_cannot_show() -> None:
    warnings = size_warnings(evaluation_set_of([f"query {number}" for number in range(25)]))
    assert warnings == (
        "25 test queries can only show a gain in Recall@5 of about 0.25 or more; 100 show 0.13.",
        "There is no dev query.",
    )
