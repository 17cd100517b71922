"""The generated reference: whatever exists in the code is on its page."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import pytest
import typer

from domain_embed_pipeline.cli import app
from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.defs.profiles import PROFILES
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.evaluation.records import METRICS
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline_tests.conftest import ROOT


@pytest.fixture(scope="module")
def pages() -> dict[str, Callable[[], str]]:
    folder = str(ROOT / "docs" / "generator")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("reference").PAGES
    finally:
        sys.path.remove(folder)


def test_every_setting_has_a_row(pages: dict[str, Callable[[], str]]) -> None:
    page = pages["settings"]()
    for name, field in DeploymentSettings.model_fields.items():
        assert f"`DOMAIN_EMBED_{name.upper()}`" in page
        assert (field.description or "").split("|")[0][:40] in page


def test_every_asset_check_and_pool_is_described(pages: dict[str, Callable[[], str]]) -> None:
    page, graph = pages["assets"](), defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert f"### {key.to_user_string()}\n" in page
    for check in graph.asset_check_keys:
        assert f"`{check.name}`: " in page


def test_every_knob_of_a_configured_asset_has_its_bounds(pages: dict[str, Callable[[], str]]) -> None:
    page = pages["knobs"]()
    assert "| `blend_weights` | list of float |" in page
    assert "≥ 2, ≤ 8192" in page
    assert all(f"### Profile {name}\n" in page for name in PROFILES)


def test_every_job_schedule_and_sensor_is_described(pages: dict[str, Callable[[], str]]) -> None:
    page, repository = pages["jobs"](), defs.get_repository_def()
    for each in (*repository.get_all_jobs(), *repository.schedule_defs, *repository.sensor_defs):
        assert each.name.startswith("__") or each.name in page


def test_every_command_and_option_is_described(pages: dict[str, Callable[[], str]]) -> None:
    page = pages["commands"]()
    commands_of = importlib.import_module("reference_commands").commands_of
    for path, command in commands_of(typer.main.get_command(app)):
        assert f"## {' '.join(path)}\n" in page
        assert all(option in page for parameter in command.params for option in parameter.opts if option[0] == "-")


def test_every_measure_and_error_is_defined(pages: dict[str, Callable[[], str]]) -> None:
    metrics, errors = pages["metrics"](), pages["errors"]()
    assert all(f"`{name}` | k = " in metrics for name in METRICS)
    assert all(
        f"`{error.__name__}`" in errors
        for error in DomainEmbedError.__subclasses__()
        if error.__module__ == DomainEmbedError.__module__
    )
