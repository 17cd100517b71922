"""What readers get is what was judged: Recall@k through alias, retriever and store equals the offline figure.

On the sample handbook with its own queries, in every kind of mode; only the encoder is one of words.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.snapshot import load_corpus
from domain_embed_pipeline.evaluation.evaluate import EvaluationSettings, evaluate_model
from domain_embed_pipeline.evaluation.records import RECALL_KS, Evaluation, RetrievalMode
from domain_embed_pipeline.pairs.evaluation_sets import load_user_evaluation_set
from domain_embed_pipeline.records import Corpus, EvaluationSet
from domain_embed_pipeline.serving.release import build_verified_collection
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.store import QdrantSettings, open_store
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.serving.conftest import Place, Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import running_double
from domain_embed_pipeline_tests.serving.scenario import ALIAS, DENSE, QUICK, SPARSE, WordEncoder

ENCODER = WordEncoder("model-words", dimension=48)
MODES = {
    "dense": DENSE,
    "sparse": SPARSE,
    "dbsf": RetrievalMode("hybrid", "dbsf", 0.75),
    "rrf": RetrievalMode("hybrid", "rrf", 1.51, 10),
}


@functools.cache
def handbook() -> tuple[Corpus, EvaluationSet]:
    corpus = load_corpus(
        str(ROOT / "data" / "corpus"), settings=CorpusSettings(), count_tokens=lambda text: len(text.split())
    )
    return corpus, load_user_evaluation_set(str(ROOT / "data" / "queries"), corpus)


@functools.cache
def judged(name: str) -> Evaluation:
    corpus, evaluation_set = handbook()
    clusters = {chunk.chunk_id: chunk.document_id for chunk in corpus.chunks}
    return evaluate_model(
        ENCODER,
        corpus=corpus,
        evaluation_set=evaluation_set,
        split="test",
        clusters=clusters,
        settings=EvaluationSettings(mode=MODES[name]),
    )


@pytest.fixture(params=["embedded", pytest.param("loopback", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QdrantSettings]:
    if request.param == "embedded":
        yield QdrantSettings(path=str(tmp_path / "qdrant"))
        return
    with running_double() as server:
        yield QdrantSettings(url=server.url)


def go_live(settings: QdrantSettings, lock_folder: Path, name: str) -> None:
    with Place(settings, lock_folder).open() as workplace:
        built = build_verified_collection(
            workplace.client, ALIAS, corpus=handbook()[0], evaluation=judged(name), encoder=ENCODER
        )
        golden = next(check for check in built.checks if check.name == "golden_queries")
        assert golden.passed and not golden.vacuous
        Workplace(settings, workplace.client, lock_folder).swap(built.collection)


@pytest.mark.parametrize(
    "name", ["rrf", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dense", "sparse", "dbsf"))]
)
def test_recall_through_the_retriever_is_the_recall_that_was_judged(
    settings: QdrantSettings, tmp_path: Path, name: str
) -> None:
    go_live(settings, tmp_path / "locks", name)
    rows = judged(name).served_query_results
    with Retriever(settings, ALIAS, lambda _: ENCODER, retries=QUICK) as retriever:
        answers = retriever.search_batch([row.text for row in rows], k=max(RECALL_KS))
    assert len(rows) > 100
    for k in RECALL_KS:
        offline = sum(getattr(row, f"recall_at_{k}") for row in rows) / len(rows)
        served = sum(
            len({hit.chunk_id for hit in hits[:k]} & set(row.relevant)) / len(row.relevant)
            for row, hits in zip(rows, answers, strict=True)
        ) / len(rows)
        assert served == pytest.approx(offline, abs=0.01), f"Recall@{k}"


@pytest.mark.slow
def test_the_modes_differ_so_that_the_wrong_one_would_be_noticed() -> None:
    means = {name: sum(row.recall_at_5 for row in judged(name).served_query_results) for name in MODES}
    count = len(judged("dense").served_query_results)
    values = sorted(total / count for total in means.values())
    assert all(second - first > 0.01 for first, second in itertools.pairwise(values)), means


def test_the_weight_of_a_mode_reaches_the_ranking(tmp_path: Path) -> None:
    settings = QdrantSettings(path=str(tmp_path / "qdrant"))
    go_live(settings, tmp_path / "locks", "rrf")
    query = judged("rrf").served_query_results[0].text
    with open_store(settings) as client:
        metadata = client.get_collection(ALIAS).config.metadata or {}
    assert (metadata["mode"]["sparse_weight"], metadata["mode"]["rrf_k"]) == (1.51, 10)
    with Retriever(settings, ALIAS, lambda _: ENCODER, retries=QUICK) as retriever:
        found = [hit.chunk_id for hit in retriever.search(query, k=10)]
    assert found == list(judged("rrf").served_query_results[0].retrieved[:10])
