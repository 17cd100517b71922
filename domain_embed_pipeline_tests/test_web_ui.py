"""The web UI as `make ui` starts it, driven in headless Chromium: graph, "Materialize all", verdict, report, plot.

`make screenshots` keeps the pictures for the README.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.workspace import Workspace
from domain_embed_pipeline_tests.browser import LOCATION, Browser, WebUI, open_browser, web_ui
from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium and chromium-driver are not installed",
    ),
]
JOB = f"/locations/{LOCATION}/jobs/retrain_and_promote_job"
RUN_S = 3600


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def ui(artifacts: Path, tiny_model: str) -> Iterator[WebUI]:
    planted = write_planted_corpus(artifacts)
    settings = {
        "corpus_path": str(planted.corpus),
        "queries_path": str(planted.queries),
        "artifacts_path": str(artifacts / "artifacts"),
        "base_model": tiny_model,
    }
    workspace = Workspace(DeploymentSettings(**settings))
    with workspace.open_ledger() as ledger:
        import_questions(str(planted.questions), corpus=workspace.load_corpus(), ledger=ledger, generator="recorded")
    with web_ui(artifacts, {f"DOMAIN_EMBED_{name.upper()}": value for name, value in settings.items()}) as running:
        yield running


@pytest.fixture(scope="module")
def browser(artifacts: Path) -> Iterator[Browser]:
    kept = os.environ.get("DOMAIN_EMBED_TEST_SCREENSHOTS")
    pictures = Path(kept) if kept else artifacts
    with open_browser(artifacts / "profile", pictures.absolute()) as opened:
        yield opened


def test_the_code_location_loads_with_all_that_the_definitions_have(ui: WebUI) -> None:
    query = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
        assetNodes { groupName } jobs { name } schedules { name } sensors { name } } } } }"""
    (repository,) = ui.ask(query)["repositoriesOrError"]["nodes"]
    own = defs.get_repository_def()
    assert len(repository["assetNodes"]) == len(own.asset_graph.get_all_asset_keys())
    assert {job["name"] for job in repository["jobs"]} == {job.name for job in own.get_all_jobs()}
    assert {each["name"] for each in repository["sensors"]} >= {each.name for each in own.sensor_defs}
    assert [each["name"] for each in repository["schedules"]] == ["weekly_retrain_schedule"]


def test_the_asset_graph_is_drawn_by_groups(ui: WebUI, browser: Browser) -> None:
    browser.open(f"{ui.address}/asset-groups")
    for group in ("corpus", "training_data", "models", "evaluation", "serving"):
        browser.wait_for(group)


def test_materialize_all_runs_to_green(ui: WebUI, browser: Browser) -> None:
    browser.open(f"{ui.address}{JOB}")
    browser.click("//button[contains(., 'Materialize all')]")
    assert ui.wait_for_runs(1, most_s=RUN_S) == ["SUCCESS"]
    browser.open(f"{ui.address}/asset-groups")
    browser.wait_for("serving")
    browser.picture("graph", settle_s=20)


def test_the_comparison_shows_its_verdict_and_its_report_opens(ui: WebUI, browser: Browser, artifacts: Path) -> None:
    browser.open(f"{ui.address}/assets/model_comparison?view=overview")
    browser.wait_for("candidate_model_version")
    browser.wait_for("better")
    browser.picture("comparison", height=1700, settle_s=10)
    (report,) = (artifacts / "artifacts" / "reports").glob("*.html")
    browser.wait_for(str(report))
    browser.open(report.as_uri())
    browser.wait_for("Recall@5")
    browser.picture("report", height=1400)


def test_recall_is_plotted_over_two_versions(ui: WebUI, browser: Browser) -> None:
    ui.launch("retrain_and_promote_job", {"ops": {"stage_one_model": {"config": {"epochs": 3.0, "seed": 7}}}})
    ui.wait_for_runs(2, most_s=RUN_S)
    query = """{ assetNodeOrError(assetKey: {path: ["finetuned_evaluation"]}) { ... on AssetNode {
        assetMaterializations { metadataEntries { label ... on FloatMetadataEntry { floatValue } } } } } }"""
    events = ui.ask(query)["assetNodeOrError"]["assetMaterializations"]
    recalls = [
        entry["floatValue"] for event in events for entry in event["metadataEntries"] if entry["label"] == "recall_at_5"
    ]
    assert len(recalls) == 2
    browser.open(f"{ui.address}/assets/finetuned_evaluation?view=overview")
    browser.click("//button[contains(., 'Plots')]")
    browser.wait_for("recall_at_5")
    browser.wait_for_element("canvas")
    browser.scroll_to("//*[text()='recall_at_5']")
    browser.picture("recall", height=1200, settle_s=10)
