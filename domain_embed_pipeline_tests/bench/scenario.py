"""A planted corpus as one BEIR folder, with recorded questions in the tutorial's style and in another."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus


@dataclass(frozen=True, slots=True)
class BeirFolder:
    """Where it lies."""

    folder: Path
    questions: Path


def write_beir_folder(root: Path) -> BeirFolder:
    """400 chunks, 40 dev and 80 test queries, 260 chunks with questions; passages and questions share no word."""
    planted = write_planted_corpus(root / "planted")
    folder = root / "beir"
    shutil.copytree(planted.queries, folder)
    shutil.copy(planted.corpus / "corpus.jsonl", folder / "corpus.jsonl")
    rows = [json.loads(line) for line in planted.questions.read_text(encoding="utf-8").splitlines()]
    questions = root / "questions.jsonl"
    lines = [
        {"chunk_id": row["chunk_id"], "plain": [row["natural"]], "styled": [f"{row['natural']} how"]} for row in rows
    ]
    write_lines(questions, lines)
    return BeirFolder(folder, questions)


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
