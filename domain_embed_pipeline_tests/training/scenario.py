"""A corpus in which only training can match queries with passages, small enough to train on in seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder, describe_encoder, load_model
from domain_embed_pipeline.ids import chunk_id_of, pair_id_of, query_id_of
from domain_embed_pipeline.records import (
    Chunk,
    Corpus,
    Document,
    EvaluationQuery,
    EvaluationSet,
    RelevanceJudgment,
    TrainingPair,
)
from domain_embed_pipeline.training.dev_set import DevGoal, DevSet, make_dev_set, score_on_dev
from domain_embed_pipeline.training.fine_tuning import StageTask, TrainedStage, fine_tune
from domain_embed_pipeline.training.rows import pair_rows
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline_tests.tiny_model import planted_texts

if TYPE_CHECKING:
    import torch

DEV_QUERIES = 40
QUICK = TrainingSettings(
    learning_rate=5e-3, epochs=3, batch_size=32, max_length=32, precision="float32", patience=None, warmup_ratio=0.1
)
"""Enough for the tiny model to learn the planted pairs: 30 steps for 320 of them."""


def chunk_of(text: str, *, document: str | None = None, title: str = "") -> Chunk:
    chunk_id = chunk_id_of(text, title)
    document = document or f"{chunk_id}.txt"
    return Chunk(
        chunk_id=chunk_id,
        text=text,
        title=title,
        document_ids=(document,),
        external_ids=(),
        position=0,
        token_count=len(text.split()),
    )


def corpus_of(chunks: list[Chunk]) -> Corpus:
    names = sorted({name for chunk in chunks for name in chunk.document_ids})
    documents = tuple(Document(name, f"digest-{name}", "text/plain", 100, 1) for name in names)
    return Corpus("corpus-test", tuple(chunks), documents, (), 0)


def pair_of(anchor: str, chunk: Chunk, *, source: str = "question") -> TrainingPair:
    positive = chunk.embedding_text
    return TrainingPair(pair_id_of(anchor, positive), anchor, positive, chunk.chunk_id, source, "plain")  # type: ignore[arg-type]


def queries_of(answers: list[tuple[str, Chunk]], *, split: str = "dev") -> EvaluationSet:
    queries = tuple(EvaluationQuery(query_id_of(text), text, split, "plain") for text, _ in answers)  # type: ignore[arg-type]
    qrels = tuple(RelevanceJudgment(query_id_of(text), chunk.chunk_id) for text, chunk in answers)
    return EvaluationSet("evaluation-test", "corpus-test", "generated", queries, qrels, ())


def planted(train_count: int = 320) -> tuple[Corpus, list[TrainingPair], EvaluationSet]:
    """Corpus, training pairs and 40 dev queries about other passages."""
    texts = planted_texts(train_count + DEV_QUERIES)
    chunks = [chunk_of(passage) for _, passage in texts]
    answers = [(query, chunk) for (query, _), chunk in zip(texts, chunks, strict=True)]
    pairs = [pair_of(query, chunk) for query, chunk in answers[:train_count]]
    return corpus_of(chunks), pairs, queries_of(answers[train_count:])


def encoder_of(folder: str, *, dtype: str = "float32", **prompts: str) -> SentenceTransformerEncoder:
    model = load_model(folder)
    spec = describe_encoder(
        model,
        folder,
        model_version="tiny",
        query_prompt=prompts.get("query_prompt", ""),
        passage_prompt=prompts.get("passage_prompt", ""),
    )
    return SentenceTransformerEncoder(model, dataclasses.replace(spec, dtype=dtype))


def planted_dev(folder: str, train_count: int = 320) -> DevSet:
    corpus, _, queries = planted(train_count)
    dev = make_dev_set(corpus, queries, encoder=encoder_of(folder), pool_size=10_000)
    assert dev is not None
    return dev


def train_planted(
    folder: str, checkpoints: Path, settings: TrainingSettings = QUICK, *, train_count: int = 320, judged: bool = True
) -> TrainedStage:
    """Fine-tune the model in `folder` on planted pairs."""
    encoder = encoder_of(folder)
    _, pairs, _ = planted(train_count)
    goal = None
    if judged:
        dev = planted_dev(folder, train_count)
        goal = DevGoal(dev, score_on_dev(encoder, dev))
    return fine_tune(
        load_model(folder), StageTask(pair_rows(pairs, {}), settings, encoder.spec, goal=goal, folder=checkpoints)
    )


def weights_of(stage: TrainedStage) -> torch.Tensor:
    """All weights of a stage's model in one row."""
    import torch

    return torch.cat([weight.detach().flatten() for weight in stage.model.state_dict().values()])
