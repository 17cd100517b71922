"""Headless Chromium for tests of the web UI, and the server it looks at."""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from domain_embed_pipeline_tests.conftest import ROOT

LOCATION = "domain_embed_pipeline"
PATIENCE_S = 300
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1600,1000",
    "--force-device-scale-factor=1",
)  # fmt: skip


class Browser:
    """One window; pictures go to `pictures`."""

    def __init__(self, driver: webdriver.Chrome, pictures: Path) -> None:
        self.driver, self.pictures = driver, pictures

    def open(self, url: str) -> None:
        self.driver.get(url)

    def wait_for(self, text: str) -> None:
        """Until the text is to be read somewhere on the page."""
        WebDriverWait(self.driver, PATIENCE_S).until(
            lambda driver: text in driver.find_element(By.TAG_NAME, "body").text
        )

    def click(self, xpath: str) -> None:
        found = expected_conditions.element_to_be_clickable((By.XPATH, xpath))
        WebDriverWait(self.driver, PATIENCE_S).until(found).click()

    def scroll_to(self, xpath: str) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView()", self.driver.find_element(By.XPATH, xpath))

    def count(self, css: str) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, css))

    def wait_for_element(self, css: str) -> None:
        WebDriverWait(self.driver, PATIENCE_S).until(lambda _: self.count(css) > 0)

    def picture(self, name: str, *, height: int = 1000, settle_s: float = 5.0) -> None:
        """A screenshot once animations have ended."""
        self.driver.set_window_size(1600, height)
        time.sleep(settle_s)
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))


@contextlib.contextmanager
def open_browser(profile: Path, pictures: Path) -> Iterator[Browser]:
    """A browser with a fresh profile."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(PATIENCE_S)
    try:
        yield Browser(driver, pictures)
    finally:
        driver.quit()


@dataclass(frozen=True, slots=True)
class WebUI:
    """`dagster dev` on a port of its own."""

    address: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, job: str, run_config: dict[str, Any]) -> None:
        """Start a run as the launchpad does."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION, "jobName": job}
        mutation = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename } }"""
        answer = self.ask(mutation, p={"selector": selector, "runConfigData": json.dumps(run_config)})
        assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer

    def statuses(self) -> list[str]:
        """Of all runs, newest first."""
        answer = self.ask("{ runsOrError { ... on Runs { results { status } } } }")
        return [run["status"] for run in answer["runsOrError"]["results"]]

    def wait_for_runs(self, count: int, *, most_s: float) -> list[str]:
        """Statuses once so many runs have ended."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline:
            statuses = self.statuses()
            if sum(status in ("SUCCESS", "FAILURE", "CANCELED") for status in statuses) >= count:
                return statuses
            time.sleep(2)
        raise TimeoutError(f"runs: {self.statuses()}")


@contextlib.contextmanager
def web_ui(folder: Path, environment: dict[str, str]) -> Iterator[WebUI]:
    """The web UI and daemon as `make ui` starts them, with the code location `ui_location`."""
    home = folder / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    workspace = folder / "workspace.yaml"
    module = "domain_embed_pipeline_tests.ui_location"
    workspace.write_text(
        f"load_from:\n  - python_module:\n      module_name: {module}\n      location_name: {LOCATION}\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "dagster", "dev", "-w", workspace, "-p", str(port)]
    own = {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=folder, env=os.environ | own | environment, start_new_session=True)
    try:
        yield WebUI(_wait_for(f"http://127.0.0.1:{port}", server))
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    os.killpg(server.pid, signal.SIGINT)
    try:
        server.wait(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "dagster dev ended"
        try:
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return address
    raise TimeoutError(address)
