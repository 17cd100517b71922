"""The best-known public tutorial's recipe, to the letter: what a user would do by hand with sentence-transformers.

What belongs here: plain calls of public libraries, and a reader of its own for the BEIR folder. What does not: any room
of this package: the recipe must not get better or worse with them. What the tutorial is silent about is the libraries'
default; where a corpus has titles, a passage is title and text joined by `. `, as for every other recipe.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from domain_embed_pipeline.errors import TooFewPairsError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Pair = tuple[str, str]
"""Anchor and positive."""
_DEPTH = 50
"""Ranks that are handed on: the tutorial looks at ten, equal passages under several ids are merged afterwards."""


class Stages(Protocol):
    """Whatever counts the seconds of a stage."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Count what happens inside."""
        ...


@dataclass(frozen=True, slots=True)
class TutorialSettings:
    """The tutorial's own figures."""

    epochs: float = 3.0
    batch_size: int = 64
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    held_out_share: float = 0.1
    """Of the pairs, at random, for the evaluation loss."""
    evaluation_steps: int = 200
    seed: int = 42


@dataclass(frozen=True, slots=True)
class TutorialResult:
    """What the recipe found, and what it trained on."""

    rankings: dict[str, list[str]]
    """Query `_id` to corpus `_id`s, best first, for every query of qrels/test.tsv."""
    pair_count: int
    """Training pairs, the held-out ones left out."""
    chunk_count: int
    source: str
    """What the pairs are made of."""


def run_tutorial(
    folder: Path,
    questions: Path | None,
    *,
    model_folder: str,
    output: Path,
    watch: Stages,
    settings: TutorialSettings | None = None,
) -> TutorialResult:
    """Pairs, fine-tuning, exact search.

    Args:
        folder: BEIR layout.
        questions: Recorded questions, or None.
        model_folder: The base model; e5 models get the prefixes that the tutorial names.
        output: Where the trainer writes checkpoints.
        watch: Counts seconds by stage.
        settings: The tutorial's by default.

    Raises:
        TooFewPairsError: If the folder has no pair to train on.
    """
    settings = settings or TutorialSettings()
    query_prefix, passage_prefix = ("query: ", "passage: ") if "e5" in Path(model_folder).name else ("", "")
    with watch.stage("prepare"):
        corpus = read_corpus(folder)
        source, pairs = read_pairs(folder, questions, corpus)
        queries = queries_of_test(folder)
    pairs = [(query_prefix + anchor, passage_prefix + positive) for anchor, positive in pairs]
    with watch.stage("train"):
        model, pair_count = fine_tune(model_folder, pairs, settings=settings, output=output)
    with watch.stage("encode"):
        passages = [passage_prefix + passage_of(row) for row in corpus.values()]
        vectors = model.encode(passages, normalize_embeddings=True, show_progress_bar=False)
    with watch.stage("evaluate"):
        import faiss

        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)  # pyright: ignore[reportCallIssue]
        texts = [query_prefix + text for text in queries.values()]
        asked = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        _, found = index.search(asked, min(_DEPTH, len(corpus)))  # pyright: ignore[reportCallIssue]
    ids = list(corpus)
    rankings = {query_id: [ids[place] for place in row] for query_id, row in zip(queries, found.tolist(), strict=True)}
    return TutorialResult(rankings, pair_count, len(corpus), source)


def fine_tune(
    model_folder: str, pairs: Sequence[Pair], *, settings: TutorialSettings, output: Path
) -> tuple[SentenceTransformer, int]:
    """The tutorial's training; returns the model and the number of pairs that it was trained on.

    Raises:
        TooFewPairsError: If there are not even ten pairs.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    if len(pairs) < 10:
        raise TooFewPairsError(f"{len(pairs)} pairs to train on.", fix="Give questions, titles or qrels/train.tsv.")
    data = Dataset.from_dict({"anchor": [pair[0] for pair in pairs], "positive": [pair[1] for pair in pairs]})
    parts = data.train_test_split(test_size=settings.held_out_share, seed=settings.seed)
    model = SentenceTransformer(model_folder)
    # A checkpoint's model card would look for its base model on the hub.
    model.model_card_data.local_files_only = True
    trainer = SentenceTransformerTrainer(
        model=model,
        args=training_arguments(settings, output),
        train_dataset=parts["train"],
        eval_dataset=parts["test"],
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    return model, len(parts["train"])


def training_arguments(settings: TutorialSettings, output: Path) -> Any:
    """The trainer's arguments."""
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
        output_dir=str(output),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_share,  # under 1 it is a share of all steps
        fp16=torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=settings.evaluation_steps,
        save_strategy="steps",
        save_steps=settings.evaluation_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
    )


def has_plain_questions(questions: Path | None) -> bool:
    """Whether a file of recorded questions has any in the tutorial's own style."""
    return questions is not None and any(_listed(row.get("plain")) for row in _json_lines(questions))


def read_pairs(folder: Path, questions: Path | None, corpus: dict[str, dict[str, str]]) -> tuple[str, list[Pair]]:
    """Plain questions with their chunks; without any, titles with their texts and the train judgments."""
    if questions is not None and has_plain_questions(questions):
        rows = [row for row in _json_lines(questions) if row.get("chunk_id") in corpus]
        pairs = [(text, passage_of(corpus[row["chunk_id"]])) for row in rows for text in _listed(row.get("plain"))]
        return "plain questions", pairs
    pairs = [(row["title"], row["text"]) for row in corpus.values() if row["title"]]
    train = folder / "qrels" / "train.tsv"
    if train.is_file():
        texts = _query_texts(folder)
        judged = judgments(train)
        pairs += [
            (texts[query], passage_of(corpus[name])) for query, name in judged if query in texts and name in corpus
        ]
    return "titles with texts, train judgments", pairs


def read_corpus(folder: Path) -> dict[str, dict[str, str]]:
    """Title and text by `_id`."""
    rows = _json_lines(folder / "corpus.jsonl")
    return {str(row["_id"]): {"title": row.get("title") or "", "text": row.get("text") or ""} for row in rows}


def passage_of(row: dict[str, str]) -> str:
    """What is encoded of a chunk."""
    return f"{row['title']}. {row['text']}" if row["title"] else row["text"]


def queries_of_test(folder: Path) -> dict[str, str]:
    """Texts of the queries of qrels/test.tsv by `_id`."""
    texts = _query_texts(folder)
    asked = dict.fromkeys(query for query, _ in judgments(folder / "qrels" / "test.tsv"))
    return {query: texts[query] for query in asked if query in texts}


def _query_texts(folder: Path) -> dict[str, str]:
    return {str(row["_id"]): row["text"] for row in _json_lines(folder / "queries.jsonl")}


def judgments(path: Path) -> list[tuple[str, str]]:
    """(query id, corpus id) of the relevant rows; the header has no number for a score."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) >= 3]
    return [(row[0], row[-2]) for row in rows if _is_positive(row[-1])]


def _is_positive(score: str) -> bool:
    try:
        return float(score) > 0
    except ValueError:
        return False


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
