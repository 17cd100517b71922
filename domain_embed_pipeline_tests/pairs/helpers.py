"""Small corpora, pairs and an encoder that knows synonyms, for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.ids import chunk_id_of, pair_id_of, query_id_of, version_of
from domain_embed_pipeline.pairs.shingles import words_of
from domain_embed_pipeline.questions.records import question_id_of
from domain_embed_pipeline.records import (
    Chunk,
    Corpus,
    Document,
    DocumentSplits,
    EvaluationQuery,
    EvaluationSet,
    PairSource,
    Question,
    RelevanceJudgment,
    Split,
    TrainingPair,
)

_SUBJECTS = "heparin warfarin troponin ablation stenting digoxin amiodarone sepsis stroke asthma gout lupus".split()
_VERBS = "lowers raises blocks predicts complicates follows precedes mimics masks worsens".split()
_OBJECTS = "mortality bleeding clotting rhythm pressure glucose potassium fever pain oedema syncope delirium".split()


def chunk_of(text: str, *documents: str, title: str = "", position: int = 0, external_ids: Sequence[str] = ()) -> Chunk:
    return Chunk(
        chunk_id=chunk_id_of(text, title),
        text=text,
        title=title,
        document_ids=tuple(sorted(documents or ("a.md",))),
        external_ids=tuple(external_ids),
        position=position,
        token_count=len(text.split()),
    )


def corpus_of(chunks: Iterable[Chunk]) -> Corpus:
    """A corpus as the corpus room would hand it on: equal chunks merged, sorted ids."""
    merged: dict[str, Chunk] = {}
    for chunk in chunks:
        known = merged.get(chunk.chunk_id)
        documents = {*chunk.document_ids, *(known.document_ids if known else ())}
        first = known or chunk
        merged[chunk.chunk_id] = Chunk(
            first.chunk_id,
            first.text,
            first.title,
            tuple(sorted(documents)),
            first.external_ids,
            first.position,
            first.token_count,
        )
    document_ids = sorted({document_id for chunk in merged.values() for document_id in chunk.document_ids})
    documents = tuple(Document(document_id, "0" * 64, "text/markdown", 1, 1) for document_id in document_ids)
    return Corpus(version_of("corpus", merged), tuple(merged.values()), documents, (), 0)


def passage(number: int, sentences: int = 6) -> str:
    """A passage of its own about some clinical subject; two numbers share hardly a run of three words."""
    rng = np.random.default_rng(number)

    def sentence() -> str:
        subject, verb, thing = rng.choice(_SUBJECTS), rng.choice(_VERBS), rng.choice(_OBJECTS)
        day, ward = rng.integers(2, 90), rng.integers(100, 999)
        return f"In ward {ward} {subject} {verb} {thing} within {day} days of case {number}-{rng.integers(1000, 9999)}."

    return " ".join(sentence() for _ in range(sentences))


def documents_of(count: int, *, chunks_each: int = 2, start: int = 0) -> list[Chunk]:
    """Chunks of `count` unrelated documents `d000.md`, `d001.md`, ..."""
    return [
        chunk_of(passage(number * 10 + part), f"d{number:03}.md", title=f"Case {number} > Part {part}", position=part)
        for number in range(start, start + count)
        for part in range(chunks_each)
    ]


def pair_of(
    anchor: str,
    positive: str = "Heparin is stopped at once and argatroban is started when the platelets fall by half.",
    *,
    source: PairSource = "question",
    chunk_id: str = "",
) -> TrainingPair:
    return TrainingPair(
        pair_id_of(anchor, positive), anchor, positive, chunk_id or chunk_id_of(positive, ""), source, "natural"
    )


def question_of(chunk: Chunk, text: str, style: str = "natural") -> Question:
    return Question(question_id_of(chunk.chunk_id, style, text), chunk.chunk_id, style, text, "test")


def evaluation_set_of(texts: Mapping[str, Sequence[str]] | Sequence[str], *, split: Split = "test") -> EvaluationSet:
    """Queries with their relevant chunk ids (or none)."""
    relevant = texts if isinstance(texts, Mapping) else {text: [] for text in texts}
    queries = tuple(EvaluationQuery(query_id_of(text), text, split, "user") for text in relevant)
    qrels = tuple(RelevanceJudgment(query_id_of(text), chunk_id) for text, ids in relevant.items() for chunk_id in ids)
    version = version_of("evaluation", [query.query_id for query in queries])
    return EvaluationSet(version, "corpus-0", "user", queries, qrels, ())


def split_of(splits: DocumentSplits) -> dict[str, Split]:
    return {row.document_id: row.split for row in splits.documents}


class SynonymEncoder:
    """Bag of words over a growing vocabulary; words of one group of synonyms are one word, function words are none."""

    def __init__(self, *groups: str) -> None:
        self._leader = {word: group.split()[0] for group in groups for word in group.split()}
        self._column: dict[str, int] = {}
        self._ignored = set("the a an of in to is are for after do does what how which when can i my with and".split())

    @property
    def spec(self) -> EncoderSpec:
        return EncoderSpec("synonyms", "fingerprint-of-synonyms", 4096, 256, "", "", True, "float32")

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 4096), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words_of(text):
                leader = self._leader.get(word, word)
                if leader not in self._ignored:
                    vectors[row, self._column.setdefault(leader, len(self._column))] = 1.0
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self.encode_queries(texts)
