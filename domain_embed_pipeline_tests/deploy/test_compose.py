"""The team deployment as files: what they name exists, secrets come from outside, nothing is open to the world."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._core.instance.config import dagster_instance_config

from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.docs.blocks import Command
from domain_embed_pipeline_tests.docs.test_commands_parse import require_sound

DEPLOY = ROOT / "deploy"
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("code", "daemon", "webserver", "search")
SECRETS = ("POSTGRES_PASSWORD", "QDRANT_API_KEY", "DOMAIN_EMBED_API_KEYS")


def _example() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_web_server_daemon_and_code_server_are_processes_of_their_own() -> None:
    commands = {name: " ".join(SERVICES[name]["command"]) for name in OURS}
    assert commands["code"].startswith("dagster code-server start")
    assert commands["daemon"].startswith("dagster-daemon run")
    assert commands["webserver"].startswith("dagster-webserver")
    assert SERVICES["postgres"]["image"].startswith("postgres:")
    assert SERVICES["qdrant"]["image"].startswith("qdrant/qdrant:v")


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_a_service_is_sound(name: str) -> None:
    require_sound(Command(f"deploy/compose.yaml {name}", tuple(SERVICES[name]["command"]), ()))


def test_the_health_check_of_the_code_server_is_a_command_of_dagster() -> None:
    program, *words = SERVICES["code"]["healthcheck"]["test"][1:]
    command = create_dagster_cli().commands[words[0]].commands[words[1]]
    assert program == "dagster"
    command.make_context("grpc-health-check", words[2:])


def test_every_variable_is_in_the_example_and_every_secret_must_be_given() -> None:
    used = dict(re.findall(r"\$\{([A-Z0-9_]+)(:[-?][^}]*)?\}", COMPOSE_TEXT))
    example = _example()
    assert used.keys() - example.keys() <= {"DOMAIN_EMBED_VERSION"}
    assert example.keys() <= used.keys()
    for name in SECRETS:
        assert example[name] == ""
        assert f"${{{name}:?" in COMPOSE_TEXT


def test_every_setting_of_the_containers_exists() -> None:
    known = {f"DOMAIN_EMBED_{name.upper()}" for name in DeploymentSettings.model_fields}
    for name in OURS:
        assert {key for key in SERVICES[name]["environment"] if key.startswith("DOMAIN_EMBED_")} <= known


def test_only_the_search_service_which_asks_for_a_key_listens_beyond_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"webserver", "search"}
    assert all(port.startswith("127.0.0.1:") for port in published["webserver"])
    assert SERVICES["search"]["environment"]["DOMAIN_EMBED_API_KEYS"]


def test_each_database_url_names_the_driver_that_its_user_was_written_for() -> None:
    environment = SERVICES["code"]["environment"]
    assert environment["DAGSTER_POSTGRES_URL"].startswith("postgresql+psycopg2://")
    assert environment["DOMAIN_EMBED_LEDGER_URL"].startswith("postgresql+psycopg://")


def test_named_volumes_are_declared() -> None:
    named = {
        volume.split(":", 1)[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if re.match(r"[a-z-]+:", volume)
    }
    assert named == set(COMPOSE["volumes"])


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    sources = [word for line in re.findall(r"^COPY (.+)$", text, re.M) for word in line.split()[:-1]]
    assert sources
    assert all((ROOT / source).exists() for source in sources)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".env", "**/.env", ".git"} <= set(ignored)
    (extras,) = re.findall(r'"\.\[([\w,-]+)\]"', text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_the_instance_is_that_of_one_machine_with_another_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/none")
    alone = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    assert "storage" not in yaml.safe_load(alone)
    (tmp_path / "dagster.yaml").write_text(alone + (DEPLOY / "storage.yaml").read_text(encoding="utf-8"))
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert config["concurrency"] == yaml.safe_load(alone)["concurrency"]


def test_an_empty_value_in_an_env_file_means_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _example().items():
        monkeypatch.setenv(name, value)
    settings = DeploymentSettings()
    assert settings.queries_path is None
    assert not settings.can_ask_llm
