from __future__ import annotations

import dataclasses
import subprocess
import sys

import bm25s
import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseSpec, fit_sparse_spec
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.evaluation.retrieval import search_sparse
from domain_embed_pipeline.ids import point_id_of

WORDS = "angina aorta atrium bypass clot edema embolus failure graft heart infarct ischaemia lead murmur pacing stent"


def made_up_corpus(count: int = 150) -> tuple[list[str], list[str]]:
    """Chunks and queries of random words, so that lengths, repeats and frequencies vary."""
    generator, words = np.random.default_rng(3), WORDS.split()
    weights = 1 / np.arange(1, len(words) + 1)
    texts = [
        " ".join(generator.choice(words, size=generator.integers(3, 40), p=weights / weights.sum()))
        for _ in range(count)
    ]
    queries = [" ".join(generator.choice(words, size=4)) for _ in range(25)]
    return texts, queries


def test_scores_are_those_of_bm25s() -> None:
    texts, queries = made_up_corpus()
    spec = fit_sparse_spec(texts)
    encoder = SparseEncoder(spec)
    chunk_ids = [f"c{row:03d}" for row in range(len(texts))]
    ours = search_sparse(encoder.encode_queries(queries), encoder.encode_passages(texts), chunk_ids, len(texts))

    def terms_of(text: str) -> list[str]:
        return list(map(str, encoder._terms_of(text)))

    terms = [terms_of(text) for text in texts]
    reference = bm25s.BM25(k1=spec.k1, b=spec.b, method="lucene")
    reference.index(terms, show_progress=False)
    for query, ranking in zip(queries, ours, strict=True):
        # bm25s counts a repeated query term again, we count it once, and Lucene's formula leaves out (k1 + 1).
        theirs = reference.get_scores(list(dict.fromkeys(terms_of(query)))) * (spec.k1 + 1)
        found = dict(zip(ranking.chunk_ids, ranking.scores, strict=True))
        for row, chunk_id in enumerate(chunk_ids):
            assert found.get(chunk_id, 0.0) == pytest.approx(theirs[row], rel=1e-5, abs=1e-5)


def test_offline_rankings_are_those_of_a_qdrant_collection_with_idf() -> None:
    texts, queries = made_up_corpus()
    encoder = SparseEncoder(fit_sparse_spec(texts))
    chunk_ids = [f"c{row:03d}" for row in range(len(texts))]
    passages, query_vectors = encoder.encode_passages(texts), encoder.encode_queries(queries)
    client = QdrantClient(":memory:")
    client.create_collection(
        "chunks", sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    )
    points = [
        models.PointStruct(
            id=point_id_of(chunk_id),
            vector={"bm25": models.SparseVector(indices=list(vector.indices), values=list(vector.values))},
            payload={"chunk_id": chunk_id},
        )
        for chunk_id, vector in zip(chunk_ids, passages, strict=True)
    ]
    client.upsert("chunks", points)
    for query, ranking in zip(query_vectors, search_sparse(query_vectors, passages, chunk_ids, 150), strict=True):
        vector = models.SparseVector(indices=list(query.indices), values=list(query.values))
        found = client.query_points("chunks", query=vector, using="bm25", limit=150).points
        # Equal scores have no order in Qdrant, so they are put in ours.
        theirs = sorted((-round(point.score, 4), (point.payload or {})["chunk_id"]) for point in found)
        ours = sorted(
            (-round(score, 4), chunk_id) for chunk_id, score in zip(ranking.chunk_ids, ranking.scores, strict=True)
        )
        assert [chunk_id for _, chunk_id in ours] == [chunk_id for _, chunk_id in theirs]
        assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=2e-4)
    client.close()


@pytest.mark.parametrize(
    ("language", "query", "passage"),
    [
        ("english", "Infarction", "two infarctions"),
        ("german", "Herzinfarkte", "der Herzinfarkt"),
        ("french", "CAFÉS", "le cafe\u0301"),  # e and a combining accent
        ("russian", "болезни", "болезнь"),
        ("hindi", "हिन्दी", "हिन्दी भाषा"),
        ("none", "心筋梗塞", "急性心筋梗塞の治療"),
        ("english", "ﬁbrosis", "fibrosis"),  # a ligature
        ("english", "T1059", "uses T1059.001"),
    ],
)
def test_query_and_passage_meet_in_a_term(language: str, query: str, passage: str) -> None:
    encoder = SparseEncoder(SparseSpec(language=language))
    assert set(encoder.encode_queries([query])[0].indices) & set(encoder.encode_passages([passage])[0].indices)


def test_stop_words_have_no_weight() -> None:
    assert SparseEncoder(SparseSpec()).encode_queries(["the and of"])[0].indices == ()


def test_a_repeated_query_term_counts_once() -> None:
    encoder = SparseEncoder(SparseSpec())
    assert encoder.encode_queries(["stent stent graft"]) == encoder.encode_queries(["graft stent"])


def test_passage_weight_by_hand() -> None:
    encoder = SparseEncoder(SparseSpec(average_length=2.0, k1=1.2, b=0.75))
    (vector,) = encoder.encode_passages(["stent stent graft"])
    damping = 1.2 * (1 - 0.75 + 0.75 * 3 / 2)
    assert sorted(vector.values) == pytest.approx(sorted([2 * 2.2 / (2 + damping), 2.2 / (1 + damping)]))
    assert list(vector.indices) == sorted(vector.indices)


def test_term_indices_are_the_same_in_another_process() -> None:
    code = (
        "from domain_embed_pipeline.encoding.sparse import SparseEncoder, SparseSpec\n"
        "import sys; sys.stdout.write(repr(SparseEncoder(SparseSpec()).encode_queries(['stent graft'])[0].indices))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == repr(SparseEncoder(SparseSpec()).encode_queries(["stent graft"])[0].indices)
    # Written down, because collections in use hold these numbers.
    assert other.stdout == "(3063101011, 3314975186)"


def test_every_field_moves_the_fingerprint() -> None:
    base = SparseSpec()
    changed = [
        dataclasses.replace(base, language="german"),
        dataclasses.replace(base, average_length=101.0),
        dataclasses.replace(base, k1=1.3),
        dataclasses.replace(base, b=0.5),
        dataclasses.replace(base, tokenization="words-0"),
    ]
    assert len({spec.fingerprint for spec in [base, *changed]}) == 6


def test_an_unknown_language_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigurationError, match=r"'klingon'.*english"):
        SparseEncoder(SparseSpec(language="klingon"))


def test_a_spec_of_another_tokenization_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="words-0"):
        SparseEncoder(SparseSpec(tokenization="words-0"))


def test_a_spec_out_of_bounds_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="b=2"):
        SparseEncoder(SparseSpec(b=2.0))
