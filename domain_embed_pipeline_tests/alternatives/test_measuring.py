"""The alternatives to fine-tuning beside a run: measured, priced, and turned into advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain_embed_pipeline.alternatives.advising import Surroundings, advise
from domain_embed_pipeline.alternatives.guard_sets import load_guard_sets
from domain_embed_pipeline.alternatives.judged_sets import load_judged_set
from domain_embed_pipeline.alternatives.measuring import (
    AlternativeInputs,
    AlternativeSettings,
    MeasuredAlternatives,
    measure_alternatives,
)
from domain_embed_pipeline.evaluation.comparators import Workload
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, References, compare
from domain_embed_pipeline.evaluation.evaluate import evaluate_model
from domain_embed_pipeline.evaluation.records import Evaluation
from domain_embed_pipeline.records import Corpus, EvaluationSet
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.fake_embeddings_server import EmbeddingsServer
from domain_embed_pipeline_tests.planted_corpus import TEST, write_planted_corpus
from domain_embed_pipeline_tests.tiny_model import build_tiny_model, build_tiny_reranker, planted_words


@dataclass(frozen=True, slots=True)
class Bench:
    """A run's base evaluation, and where its things lie."""

    registry: ModelRegistry
    base: Evaluation
    corpus: Corpus
    queries: EvaluationSet
    folder: Path

    def measure(self, settings: AlternativeSettings | None = None) -> MeasuredAlternatives:
        return measure_alternatives(
            AlternativeInputs(
                registry=self.registry,
                base=self.base,
                corpus=self.corpus,
                evaluation_set=self.queries,
                clusters={},
                latencies=self.folder / "latencies",
                settings=settings or AlternativeSettings(),
            )
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    planted = write_planted_corpus(folder)
    (planted.corpus / "corpus.jsonl").rename(planted.queries / "corpus.jsonl")
    corpus, queries = load_judged_set(str(planted.queries))
    registry = ModelRegistry(folder / "models", vectors_folder=folder / "vectors")
    encoder = registry.encoder(register_base_model(registry, tiny_model).model_version)
    base = evaluate_model(encoder, corpus=corpus, evaluation_set=queries, split="test", clusters={})
    return Bench(registry, base, corpus, queries, folder)


@pytest.fixture
def endpoint() -> Iterator[EmbeddingsServer]:
    server = EmbeddingsServer()
    yield server
    server.close()


def test_bm25_is_measured_when_nothing_is_named(bench: Bench) -> None:
    measured = bench.measure()
    assert [line.kind for line in measured.lines] == ["bm25"]
    assert len(measured.rows) == TEST
    assert measured.problems == ()
    # "tell3 tell17 is noted here is noted here": four distinct terms without stop words.
    assert measured.terms_per_chunk == pytest.approx(4, abs=1)


def test_models_endpoint_and_reranker_stand_side_by_side_and_a_dead_one_is_listed(
    bench: Bench, endpoint: EmbeddingsServer, tmp_path: Path
) -> None:
    other = build_tiny_model(tmp_path / "other", planted_words(), seed=7)
    reranker = build_tiny_reranker(tmp_path / "reranker", planted_words())
    names = (other, f"{endpoint.url}#text-embedding-3-small", str(tmp_path / "missing"))
    measured = bench.measure(AlternativeSettings(models=names, reranker=reranker))
    assert [line.kind for line in measured.lines] == ["bm25", "other", "api", "reranker"]
    assert [problem.name for problem in measured.problems] == [names[2]]
    assert "missing" in measured.problems[0].reason
    by_kind = {alternative.kind: alternative for alternative in measured.alternatives()}
    assert all(len(alternative.rows) == TEST for alternative in by_kind.values())
    assert by_kind["api"].dollars_per_million_tokens == 0.02
    assert by_kind["api"].rows != by_kind["other"].rows
    # A reranker can only bring up what was found, and does so from deeper than is kept of a ranking.
    assert {row.query_id for row in by_kind["reranker"].rows} == {row.query_id for row in bench.base.query_results}
    assert min(alternative.latency_ms for alternative in by_kind.values()) > 0
    save_record(measured, str(tmp_path / "stored"))
    assert load_record(MeasuredAlternatives, str(tmp_path / "stored")) == measured


def test_a_comparison_gets_general_ability_alternatives_and_advice_and_keeps_its_verdict(bench: Bench) -> None:
    comparison = compare(bench.base, References(bench.base), certificate=CertificateOutcome("sha256:1", passed=True))
    guards = load_guard_sets()
    around = Surroundings(bench.registry, bench.measure(), guards, Workload(), bench.folder / "latencies")
    advised = advise(comparison, bench.base, bench.base, around)
    assert advised.verdict == comparison.verdict == "not_shown"
    assert [(row.name, row.difference) for row in advised.general_ability] == [(guard.name, 0.0) for guard in guards]
    assert {row.kind for row in advised.comparators} >= {"bm25", "base", "tuned"}
    assert "fine-tuning was not shown to be better" in advised.recommendation


def test_a_latency_is_measured_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain_embed_pipeline.alternatives import measuring

    version = bench.base.model_version
    first = measuring.version_latency_ms(bench.registry, version, ["ask1"], bench.folder / "latencies")
    monkeypatch.setattr(measuring, "load_version", None)
    assert measuring.version_latency_ms(bench.registry, version, ["ask1"], bench.folder / "latencies") == first
