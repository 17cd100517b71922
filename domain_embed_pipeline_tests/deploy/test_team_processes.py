"""The team's processes without containers: code server, daemon and web server on PostgreSQL, and a run through them.

Once with artifacts in a folder that all share, once in a bucket of an S3 server.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.workspace import Workspace
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.places import empty_place
from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def databases() -> Iterator[tuple[str, str]]:
    """URLs of two new databases: Dagster's and the ledger's."""
    server = sa.make_url(os.environ["DOMAIN_EMBED_TEST_POSTGRES_URL"]).set(drivername="postgresql+psycopg")
    names = [f"team_{uuid.uuid4().hex[:10]}_{kind}" for kind in ("dagster", "ledger")]
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in names:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    dagster, ledger = (server.set(database=name) for name in names)
    yield (
        dagster.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False),
        ledger.render_as_string(hide_password=False),
    )
    with engine.connect() as connection:
        for name in names:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


class Team:
    """The processes, and questions to the web server."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.code_port, self.web_port = _free_port(), _free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        workspace = (ROOT / "deploy" / "workspace.yaml").read_text(encoding="utf-8")
        workspace = workspace.replace("host: code", "host: 127.0.0.1").replace("port: 4000", f"port: {self.code_port}")
        (folder / "workspace.yaml").write_text(workspace, encoding="utf-8")

    def start(self) -> None:
        module = "domain_embed_pipeline.definitions"
        self._spawn("dagster", "code-server", "start", "-h", "127.0.0.1", "-p", str(self.code_port), "-m", module)
        _wait_for_port(self.code_port)
        self._spawn("dagster-daemon", "run", "-w", "workspace.yaml")
        self._spawn("dagster-webserver", "-h", "127.0.0.1", "-p", str(self.web_port), "-w", "workspace.yaml")
        _wait_for_port(self.web_port)

    def stop(self) -> None:
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _spawn(self, program: str, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / program), *arguments]
        log = (self.folder / f"{program}.log").open("ab")
        self.processes.append(
            subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        )

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web_port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["data"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for_port(port: int, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise TimeoutError(f"nothing listens on {port}")


@pytest.fixture(params=["folder", "s3"])
def team(tmp_path: Path, tiny_model: str, databases: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Team]:
    planted = write_planted_corpus(tmp_path)
    artifacts = empty_place(request.param, tmp_path, request)
    home = tmp_path / "home"
    home.mkdir()
    parts = (ROOT / "dagster.yaml", ROOT / "deploy" / "storage.yaml")
    (home / "dagster.yaml").write_text("".join(part.read_text(encoding="utf-8") for part in parts))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(home),
        "DAGSTER_POSTGRES_URL": databases[0],
        "DOMAIN_EMBED_LEDGER_URL": databases[1],
        "DOMAIN_EMBED_CORPUS_PATH": str(planted.corpus),
        "DOMAIN_EMBED_QUERIES_PATH": str(planted.queries),
        "DOMAIN_EMBED_ARTIFACTS_PATH": artifacts,
        "DOMAIN_EMBED_LOCAL_PATH": str(tmp_path / "local"),
        "DOMAIN_EMBED_BASE_MODEL": tiny_model,
        "OMP_NUM_THREADS": "1",
    }
    processes = Team(tmp_path, environment)
    try:
        processes.start()
        yield processes
    finally:
        processes.stop()


LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
HEALTH = "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"
LOCATION = "{ locationStatusesOrError { ... on WorkspaceLocationStatusEntries { entries { name loadStatus } } } }"


def _until(ask: Any, done: Any, seconds: float = 300) -> Any:
    end = time.monotonic() + seconds
    answer = ask()
    while not done(answer) and time.monotonic() < end:
        time.sleep(2)
        answer = ask()
    return answer


def test_a_run_queued_in_the_web_server_is_started_by_the_daemon_in_the_code_server(team: Team) -> None:
    (entry,) = team.ask(LOCATION)["locationStatusesOrError"]["entries"]
    assert (entry["name"], entry["loadStatus"]) == ("domain_embed_pipeline", "LOADED")
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "domain_embed_pipeline",
        "jobName": "retrain_and_promote_job",
        "assetSelection": [{"path": [name]} for name in ("corpus_chunks", "document_splits", "generated_questions")],
        "assetCheckSelection": [],
    }
    launched = team.ask(LAUNCH, params={"selector": selector, "runConfigData": {}, "mode": "default"})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    ended = {"SUCCESS", "FAILURE", "CANCELED"}
    status = _until(
        lambda: team.ask(RUN, id=run_id)["runOrError"]["status"], lambda answer: answer in ended, seconds=500
    )
    assert status == "SUCCESS"
    tables = Workspace(DeploymentSettings(artifacts_path=team.environment["DOMAIN_EMBED_ARTIFACTS_PATH"])).tables
    assert tables.folders() == ["corpus_chunks", "document_splits", "generated_questions"]
    statuses = _until(
        lambda: team.ask(HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"],
        lambda answer: all(row["healthy"] for row in answer if row["required"]),
    )
    assert all(row["healthy"] for row in statuses if row["required"]), statuses
