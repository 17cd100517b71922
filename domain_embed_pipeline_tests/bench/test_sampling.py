from __future__ import annotations

from pathlib import Path

from domain_embed_pipeline.bench.sampling import write_sample
from domain_embed_pipeline_tests.bench.scenario import BeirFolder, read_lines


def _judged(folder: str, split: str) -> list[list[str]]:
    lines = (Path(folder) / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t") for line in lines]


def test_every_chunk_that_answers_a_kept_query_stays(beir: BeirFolder, tmp_path: Path) -> None:
    folder, _ = write_sample(str(beir.folder), None, count=30, seed=1, target=tmp_path / "sample")
    names = {row["_id"] for row in read_lines(Path(folder) / "corpus.jsonl")}
    assert len(names) == 120
    for split in ("test", "dev"):
        rows = _judged(folder, split)
        assert len({row[0] for row in rows}) == 30
        assert {row[1] for row in rows} <= names


def test_questions_stay_with_their_chunks_and_under_the_limit(beir: BeirFolder, tmp_path: Path) -> None:
    folder, questions = write_sample(str(beir.folder), str(beir.questions), count=9, seed=1, target=tmp_path / "sample")
    assert questions is not None
    rows = read_lines(Path(questions))
    assert {row["chunk_id"] for row in rows} <= {row["_id"] for row in read_lines(Path(folder) / "corpus.jsonl")}
    assert 0 < len(rows) <= 12


def test_a_sample_depends_on_its_seed_alone(beir: BeirFolder, tmp_path: Path) -> None:
    def chunks(name: str, seed: int) -> str:
        folder, _ = write_sample(str(beir.folder), None, count=10, seed=seed, target=tmp_path / name)
        return (Path(folder) / "corpus.jsonl").read_text(encoding="utf-8")

    assert chunks("a", 1) == chunks("b", 1)
    assert chunks("a2", 1) != chunks("c", 2)


def test_a_folder_without_a_dev_file_gets_none(beir: BeirFolder, tmp_path: Path) -> None:
    (beir.folder / "qrels" / "dev.tsv").unlink()
    folder, _ = write_sample(str(beir.folder), None, count=10, seed=1, target=tmp_path / "sample")
    assert [path.name for path in (Path(folder) / "qrels").iterdir()] == ["test.tsv"]
