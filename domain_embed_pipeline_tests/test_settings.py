"""Deployment settings come from the environment, then `.env`, then safe defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.workspace import Workspace


def test_defaults_need_no_server_and_no_key() -> None:
    settings = DeploymentSettings()
    assert settings.qdrant_url is None
    assert not settings.can_ask_llm
    assert settings.resolved_ledger_url == "sqlite:///data/artifacts/ledger.sqlite"
    assert settings.qdrant_path == "data/artifacts/qdrant"


def test_artifacts_in_a_bucket_leave_the_rest_in_a_folder_of_their_own() -> None:
    settings = DeploymentSettings(artifacts_path="s3://team/search", local_path=None)  # type: ignore[call-arg]
    assert settings.resolved_ledger_url == "sqlite:///data/local/s3-team-search/ledger.sqlite"
    assert settings.qdrant_path == "data/local/s3-team-search/qdrant"
    workspace = Workspace(settings)
    assert (str(workspace.tables), str(workspace.checkpoints)) == (
        "s3://team/search/tables",
        "data/local/s3-team-search/checkpoints",
    )
    assert workspace.unshared == ("the ledger of LLM answers", "the index")


def test_a_local_folder_can_be_named_apart_from_the_artifacts() -> None:
    workspace = Workspace(DeploymentSettings(artifacts_path="/srv/a", local_path="/fast"))  # type: ignore[call-arg]
    assert (str(workspace.tables), str(workspace.locks), workspace.settings.qdrant_path) == (
        "/srv/a/tables",
        "/fast/locks",
        "/fast/qdrant",
    )
    assert workspace.unshared == ()


def test_the_environment_beats_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("DOMAIN_EMBED_CORPUS_PATH=from-file\nDOMAIN_EMBED_SERVING_ALIAS=file\n", encoding="utf-8")
    monkeypatch.setenv("DOMAIN_EMBED_CORPUS_PATH", "from-environment")
    settings = DeploymentSettings()
    assert (settings.corpus_path, settings.serving_alias) == ("from-environment", "file")


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "DOMAIN_EMBED_ANTHROPIC_API_KEY"])
def test_a_key_under_either_name_lets_the_llm_be_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sk-secret")
    settings = DeploymentSettings()
    assert settings.can_ask_llm
    assert settings.anthropic_api_key is not None
    assert settings.anthropic_api_key.get_secret_value() == "sk-secret"


def test_our_own_name_of_the_key_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-general")
    monkeypatch.setenv("DOMAIN_EMBED_ANTHROPIC_API_KEY", "sk-ours")
    key = DeploymentSettings().anthropic_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-ours"


def test_a_server_without_a_key_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_ANTHROPIC_BASE_URL", "http://localhost:11434")
    assert DeploymentSettings().can_ask_llm


def test_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("DOMAIN_EMBED_QDRANT_API_KEY", "qd-secret")
    settings = DeploymentSettings()
    assert "secret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_can_be_given_by_name() -> None:
    settings = DeploymentSettings(artifacts_path="/srv/a", anthropic_base_url="http://x")  # type: ignore[call-arg]
    assert settings.resolved_ledger_url == "sqlite:////srv/a/ledger.sqlite"
    assert settings.can_ask_llm


def test_a_given_ledger_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_LEDGER_URL", "postgresql://host/ledger")
    assert DeploymentSettings().resolved_ledger_url == "postgresql://host/ledger"


@pytest.mark.parametrize("alias", ["", "-documents", "a/b", "a b", "x" * 64])
def test_an_alias_that_could_be_a_path_or_a_query_is_refused(alias: str) -> None:
    with pytest.raises(ValidationError, match="serving_alias"):
        DeploymentSettings(serving_alias=alias)


def test_every_setting_says_what_it_is_for() -> None:
    silent = [name for name, field in DeploymentSettings.model_fields.items() if not field.description]
    assert silent == []


def test_a_server_of_any_size_is_a_matter_of_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "URL": "https://qdrant.internal:6333", "API_KEY": "s3cret", "PREFER_GRPC": "true", "GRPC_PORT": "7334",
        "CA_FILE": "ca.pem", "CLIENT_CERT_FILE": "us.pem", "SHARDS": "6", "REPLICAS": "3", "WRITE_CONSISTENCY": "2",
        "QUANTIZATION": "int8", "VECTORS_ON_DISK": "true", "UPLOAD_BATCH": "256", "UPLOAD_PARALLEL": "4",
    }  # fmt: skip
    for name, value in wanted.items():
        monkeypatch.setenv(f"DOMAIN_EMBED_QDRANT_{name}", value)
    workspace = Workspace(DeploymentSettings())
    store, build = workspace.qdrant, workspace.build_settings
    assert (store.url, store.api_key, store.prefer_grpc, store.grpc_port) == (wanted["URL"], "s3cret", True, 7334)
    assert (store.ca_file, store.client_cert_file) == ("ca.pem", "us.pem")
    assert (build.shard_number, build.replication_factor, build.write_consistency_factor) == (6, 3, 2)
    assert (build.quantization, build.vectors_on_disk, build.batch_size, build.parallel) == ("int8", True, 256, 4)


@pytest.mark.parametrize(("name", "value"), [("SHARDS", "0"), ("QUANTIZATION", "binary"), ("UPLOAD_PARALLEL", "500")])
def test_a_server_setting_out_of_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DOMAIN_EMBED_QDRANT_{name}", value)
    with pytest.raises(ValidationError):
        DeploymentSettings()
