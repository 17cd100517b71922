"""The Dagster web UI as `make ui` starts it: the code location loads, and the asset graph is drawn in a browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain_embed_pipeline_tests.conftest import ROOT

pytestmark = pytest.mark.browser

BROWSER_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)]
    environment = os.environ | {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield _wait_for(f"http://127.0.0.1:{port}", server)
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(timeout=60)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(240):
        assert server.poll() is None, "dagster dev ended"
        try:
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return address
    raise TimeoutError(address)


def _ask(address: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def test_the_code_location_loads_with_assets_jobs_and_schedule(address: str) -> None:
    query = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
        assetNodes { groupName } jobs { name } schedules { name } } } } }"""
    (repository,) = _ask(address, query)["repositoriesOrError"]["nodes"]
    assert len(repository["assetNodes"]) == 17
    assert {node["groupName"] for node in repository["assetNodes"]} == {
        "corpus", "training_data", "models", "evaluation", "serving"
    }  # fmt: skip
    assert {"retrain_and_promote_job", "evaluate_job", "promote_job"} <= {job["name"] for job in repository["jobs"]}
    assert [schedule["name"] for schedule in repository["schedules"]] == ["weekly_retrain_schedule"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_asset_graph_is_drawn(address: str, tmp_path: Path) -> None:
    picture = tmp_path / "assets.png"
    options = (*BROWSER_OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1600,1000")
    page = f"{address}/asset-groups"
    budget = ("--virtual-time-budget=60000", f"--screenshot={picture}")
    subprocess.run(["chromium", *options, *budget, page], check=True, timeout=180, capture_output=True)
    assert picture.stat().st_size > 20_000
    dom = subprocess.run(
        ["chromium", *options, "--virtual-time-budget=60000", "--dump-dom", page],
        check=True, timeout=180, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "training_data" in dom
