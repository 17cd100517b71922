"""Scoring any model outside a run: what `domain-embed evaluate` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.alternatives.named_models import open_named_model
from domain_embed_pipeline.alternatives.standalone import StandaloneSettings, evaluate_named_model
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.errors import BaseModelNotFoundError, ConfigurationError, CorpusSourceError
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.fake_embeddings_server import EmbeddingsServer
from domain_embed_pipeline_tests.planted_corpus import TEST, write_planted_corpus

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Corpus and queries in one folder, as BEIR has them."""
    folder = tmp_path_factory.mktemp("planted")
    planted = write_planted_corpus(folder)
    (planted.corpus / "corpus.jsonl").rename(planted.queries / "corpus.jsonl")
    return str(planted.queries)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models", vectors_folder=tmp_path / "vectors")


@pytest.fixture
def endpoint() -> Iterator[EmbeddingsServer]:
    server = EmbeddingsServer()
    yield server
    server.close()


def test_a_folder_and_the_version_it_becomes_get_the_same_figures(
    beir: str, registry: ModelRegistry, tiny_model: str
) -> None:
    by_folder = evaluate_named_model(tiny_model, beir, registry)
    version = register_base_model(registry, tiny_model).model_version
    by_version = evaluate_named_model(version, beir, registry)
    assert by_folder.model == by_version.model == version
    assert by_folder.metrics == by_version.metrics == by_folder.dense_metrics
    assert by_folder.query_count == TEST
    assert by_folder.latency_ms > 0
    assert (by_folder.tokens_sent, by_folder.dollars) == (0, 0)


def test_bm25_is_measured_without_a_model(beir: str, registry: ModelRegistry) -> None:
    result = evaluate_named_model("bm25", beir, registry)
    assert (result.mode.kind, result.encoder_fingerprint, result.dense_metrics) == ("sparse", "", ())


def test_an_endpoint_is_paid_once_and_says_what_it_cost(
    beir: str, registry: ModelRegistry, endpoint: EmbeddingsServer
) -> None:
    settings = StandaloneSettings(api_key="k", price=2.0)
    first = evaluate_named_model(f"{endpoint.url}#text-9", beir, registry, settings=settings)
    assert first.model == "text-9"
    assert first.tokens_sent > 1000
    assert first.dollars == pytest.approx(first.tokens_sent * 2 / 1e6)
    assert set(endpoint.keys) == {"Bearer k"}
    second = evaluate_named_model(f"{endpoint.url}#text-9", beir, registry, settings=settings)
    assert second.metrics == first.metrics
    # Nothing but the question for the dimension: latency is measured on vectors that no cache has, before tokens count.
    assert second.tokens_sent < first.tokens_sent / 10


def test_the_list_price_of_a_known_model_is_known(registry: ModelRegistry, endpoint: EmbeddingsServer) -> None:
    with open_named_model(f"{endpoint.url}#text-embedding-3-small", registry) as model:
        assert model.dollars_per_million_tokens == 0.02


def test_an_endpoint_without_a_model_is_wrong_use(registry: ModelRegistry) -> None:
    with (
        pytest.raises(ConfigurationError, match="names an endpoint but no model"),
        open_named_model("http://127.0.0.1:9/v1", registry),
    ):
        pass


def test_a_model_that_nobody_has_and_a_folder_that_is_not_there_are_named(
    beir: str, registry: ModelRegistry, tmp_path: Path
) -> None:
    with pytest.raises(BaseModelNotFoundError, match="no-such/model"):
        evaluate_named_model("no-such/model", beir, registry)
    with pytest.raises(CorpusSourceError, match="nowhere"):
        evaluate_named_model("bm25", str(tmp_path / "nowhere"), registry)


def test_auto_chooses_the_mode_on_dev(beir: str, registry: ModelRegistry, tiny_model: str) -> None:
    result = evaluate_named_model(tiny_model, beir, registry, settings=StandaloneSettings(mode="auto", split="test"))
    assert result.mode.kind in {"dense", "hybrid"}
    assert result.dense_metrics


def test_the_command_prints_figures_and_json(
    beir: str, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", str(tmp_path / "artifacts"))
    shown = RUNNER.invoke(app, ["evaluate", tiny_model, "--on", beir])
    assert shown.exit_code == 0, shown.output
    assert "Recall@5" in shown.stdout
    document = json.loads(RUNNER.invoke(app, ["evaluate", tiny_model, "--on", beir, "--json"]).stdout)
    values = {row["metric"]: row["mean"] for row in document["metrics"]}
    assert f"{values['recall_at_5']:.3f}" in shown.stdout
    assert document["query_count"] == TEST
