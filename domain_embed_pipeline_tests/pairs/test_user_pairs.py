from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain_embed_pipeline.errors import UserPairsError
from domain_embed_pipeline.pairs.user_pairs import (
    UserPairSettings,
    load_all_user_pairs,
    load_user_pairs,
    user_pairs_paths,
)
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.workspace import Workspace
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


def _beir(folder: Path, *, split: str = "train") -> str:
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "heparin bolus"}\n', encoding="utf-8")
    (folder / "qrels" / f"{split}.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\tH_0\t1\nq1\tH_1\t0\nq7\tH_0\t1\n", encoding="utf-8"
    )
    return str(folder)


def test_the_train_judgments_of_a_beir_folder_are_pairs(tmp_path: Path) -> None:
    made = load_user_pairs(_beir(tmp_path / "beir"), _CORPUS)
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


def test_train_judgments_beside_the_queries_are_used_unless_switched_off(tmp_path: Path) -> None:
    folder = _beir(tmp_path / "beir")
    asked = DeploymentSettings(queries_path=folder)  # type: ignore[call-arg]
    made = Workspace(asked).load_user_pairs(_CORPUS)
    assert made is not None
    assert [pair.anchor for pair in made.pairs] == ["heparin bolus"]
    off = DeploymentSettings(queries_path=folder, use_train_qrels=False)  # type: ignore[call-arg]
    assert Workspace(off).load_user_pairs(_CORPUS) is None


def test_the_switch_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DeploymentSettings().use_train_qrels
    monkeypatch.setenv("DOMAIN_EMBED_USE_TRAIN_QRELS", "false")
    assert not DeploymentSettings().use_train_qrels


def test_a_click_log_and_train_judgments_are_used_together_and_each_pair_once(tmp_path: Path) -> None:
    folder, log = _beir(tmp_path / "beir"), str(_write(tmp_path / "log.jsonl"))
    both = user_pairs_paths(log, folder, use_train_qrels=True)
    assert both == (log, folder)
    made = load_all_user_pairs(both, _CORPUS)
    assert made is not None
    assert made.pairs == load_user_pairs(log, _CORPUS).pairs
    assert len(made.bad_rows) == 5


@pytest.mark.parametrize(
    ("own", "queries", "use", "expected"),
    [
        (None, None, True, ()),
        ("log.csv", None, True, ("log.csv",)),
        ("BEIR/", "BEIR", True, ("BEIR",)),
        ("BEIR", "BEIR", False, ("BEIR",)),
        (None, "TEST_ONLY", True, ()),
    ],
)
def test_where_pairs_are_looked_for(
    tmp_path: Path, own: str | None, queries: str | None, use: bool, expected: tuple[str, ...]
) -> None:
    folders = {"BEIR": _beir(tmp_path / "beir"), "TEST_ONLY": _beir(tmp_path / "test", split="test")}

    def placed(path: str) -> str:
        for name, folder in folders.items():
            path = path.replace(name, folder)
        return path

    found = user_pairs_paths(own and placed(own), queries and placed(queries), use_train_qrels=use)
    assert found == tuple(map(placed, expected))
