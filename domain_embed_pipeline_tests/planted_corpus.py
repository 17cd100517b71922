"""A corpus whose queries and passages share no word: what a model gets right here, it learned.

Each passage speaks of two of 30 topics in words of its own (`tell3 tell17`), each question of the same two in others
(`ask3 ask17`). Questions are recorded for some passages; queries ask about others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline_tests.tiny_model import planted_texts

RECORDED, DEV, TEST, UNASKED = 260, 40, 80, 20


@dataclass(frozen=True, slots=True)
class PlantedCorpus:
    """Where the files lie."""

    corpus: Path
    queries: Path
    questions: Path
    chunk_count: int = RECORDED + DEV + TEST + UNASKED


def write_planted_corpus(folder: Path) -> PlantedCorpus:
    """Write documents, BEIR queries and recorded questions under `folder`."""
    texts = planted_texts(RECORDED + DEV + TEST + UNASKED)
    corpus, queries = folder / "corpus", folder / "queries"
    (queries / "qrels").mkdir(parents=True)
    corpus.mkdir()
    rows = []
    for number, (_, passage) in enumerate(texts):
        rows.append({"_id": f"d{number}", "title": "", "text": f"{passage} is noted here", "source": f"doc-{number}"})
    _write_lines(corpus / "corpus.jsonl", rows)
    recorded = [{"chunk_id": f"d{n}", "natural": question} for n, (question, _) in enumerate(texts[:RECORDED])]
    _write_lines(folder / "questions.jsonl", recorded)
    sides = {"dev": range(RECORDED, RECORDED + DEV), "test": range(RECORDED + DEV, RECORDED + DEV + TEST)}
    lines = [{"_id": f"{n}", "text": texts[n][0]} for numbers in sides.values() for n in numbers]
    _write_lines(queries / "queries.jsonl", lines)
    for side, numbers in sides.items():
        judgments = "".join(f"{n}\td{n}\t1\n" for n in numbers)
        (queries / "qrels" / f"{side}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgments}", encoding="utf-8")
    return PlantedCorpus(corpus, queries, folder / "questions.jsonl")


def _write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
