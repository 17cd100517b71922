from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain_embed_pipeline.errors import UserPairsError
from domain_embed_pipeline.pairs.user_pairs import UserPairSettings, load_user_pairs
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of

_DOSE = chunk_of("Bolus 80 units per kg.", "heparin.md", title="Heparin > Dose", external_ids=["H_0"])
_RISK = chunk_of("Watch the platelets.", "heparin.md", title="Heparin > Risk", position=1, external_ids=["H_1"])
_CORPUS = corpus_of([_DOSE, _RISK])
_ROWS = [
    {"query": "heparin  bolus", "chunk_id": "H_0"},
    {"query": "platelets on heparin", "chunk_id": _RISK.chunk_id},
    {"query": "heparin", "chunk_id": "heparin.md"},
    {"query": "gone", "chunk_id": "H_9"},
    {"query": " ", "chunk_id": "H_0"},
    {"query": "nothing clicked", "chunk_id": ""},
]


def _write(path: Path) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in _ROWS), encoding="utf-8")
    elif path.suffix == ".csv":
        lines = ["query,chunk_id", *(f'"{row["query"]}",{row["chunk_id"]}' for row in _ROWS)]
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(_ROWS), path)
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
def test_every_kind_of_click_log_gives_the_same_pairs_and_lists_the_same_bad_rows(tmp_path: Path, name: str) -> None:
    made = load_user_pairs(str(_write(tmp_path / name)), _CORPUS)
    assert sorted((pair.anchor, pair.positive, pair.chunk_id) for pair in made.pairs) == sorted(
        [
            ("heparin", _DOSE.embedding_text, _DOSE.chunk_id),
            ("heparin", _RISK.embedding_text, _RISK.chunk_id),
            ("heparin bolus", _DOSE.embedding_text, _DOSE.chunk_id),
            ("platelets on heparin", _RISK.embedding_text, _RISK.chunk_id),
        ]
    )
    assert [(row.row, row.reason) for row in made.bad_rows] == [
        (4, "unknown_chunk"),
        (5, "empty_query"),
        (6, "no_reference"),
    ]
    assert {pair.source for pair in made.pairs} == {"user"}


def test_the_train_judgments_of_a_beir_folder_are_pairs(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "heparin bolus"}\n', encoding="utf-8")
    (tmp_path / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\tH_0\t1\nq1\tH_1\t0\nq7\tH_0\t1\n", encoding="utf-8"
    )
    made = load_user_pairs(str(tmp_path), _CORPUS)
    assert [(pair.anchor, pair.chunk_id) for pair in made.pairs] == [("heparin bolus", _DOSE.chunk_id)]
    assert [(row.row, row.reason) for row in made.bad_rows] == [(3, "not_relevant"), (4, "unknown_query")]


def test_a_query_that_names_a_whole_document_gives_a_few_of_its_chunks(tmp_path: Path) -> None:
    chunks = [chunk_of(f"Part {place} of it.", "long.md", position=place) for place in range(40)]
    path = tmp_path / "log.jsonl"
    path.write_text('{"query": "long story", "chunk_id": "long.md"}', encoding="utf-8")
    corpus = corpus_of(chunks)
    made = load_user_pairs(str(path), corpus, settings=UserPairSettings(max_chunks_per_query=3))
    assert len(made.pairs) == 3
    assert made == load_user_pairs(str(path), corpus, settings=UserPairSettings(max_chunks_per_query=3))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.jsonl", '{"query": "x", "chunk_id": "unknown"}', "None of the 1 rows"),
        ("log.jsonl", '{"query": "x", "chunk_id": "H_0"}\nnot json', "line 2 is not JSON"),
        ("log.jsonl", "[1]", "line 1 is list"),
        ("log.csv", "a,b\n1,2\n", r"has the columns \['a', 'b'\]"),
        ("log.parquet", "no parquet", "is not a Parquet file"),
        ("log.xlsx", "", "neither a BEIR folder nor"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserPairsError, match=message) as caught:
        load_user_pairs(str(path), _CORPUS)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserPairsError, match=r"nowhere\.csv does not exist"):
        load_user_pairs(str(tmp_path / "nowhere.csv"), _CORPUS)
