"""`kill -9` of the run process at each asset in turn, each time followed by "Re-execute from failure"."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.defs.execution import PID_TAG, end_dead_runs, open_instance
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline.workspace import Workspace
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.defs import kill_target
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer
from domain_embed_pipeline_tests.planted_corpus import RECORDED, write_planted_corpus
from domain_embed_pipeline_tests.test_end_to_end import RUN_CONFIG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

IN_FLIGHT = 8
"""Direct requests at a time: what was answered in the moment of a kill is paid for and lost."""
STEP_S = 900


@dataclass(slots=True)
class Runs:
    """Starts runs in processes of their own and watches their events."""

    home: Path
    instance: dg.DagsterInstance
    last: str | None = None

    def start(self) -> subprocess.Popen[bytes]:
        known = {run.run_id for run in self.instance.get_runs()}
        command = [sys.executable, kill_target.__file__, str(self.home), json.dumps(RUN_CONFIG)]
        process = subprocess.Popen(command + ([self.last] if self.last else []), cwd=ROOT)
        deadline = time.monotonic() + STEP_S
        while time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it began"
            if new := [run.run_id for run in self.instance.get_runs() if run.run_id not in known]:
                self.last = new[0]
                return process
            time.sleep(0.2)
        raise TimeoutError("no run began")

    def steps(self, kind: str, run_id: str | None = None) -> set[str]:
        logs = self.instance.all_logs(run_id or str(self.last), of_type=dg.DagsterEventType(kind))
        return {str(entry.step_key) for entry in logs}

    def kill_at(self, step: str) -> str:
        """Kill the run process a moment after the step began; returns the run's id."""
        process = self.start()
        deadline = time.monotonic() + STEP_S
        while step not in self.steps("STEP_START"):
            assert process.poll() is None, f"the run ended before {step} began"
            assert time.monotonic() < deadline, step
            time.sleep(0.1)
        time.sleep(0.3)
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL
        return str(self.last)


@pytest.fixture
def server() -> Iterator[FakeMessagesServer]:
    with FakeMessagesServer() as running:
        yield running


@pytest.fixture
def runs(
    tmp_path: Path, tiny_model: str, server: FakeMessagesServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runs]:
    planted = write_planted_corpus(tmp_path)
    monkeypatch.chdir(ROOT)
    for name, value in {
        "DOMAIN_EMBED_CORPUS_PATH": str(planted.corpus),
        "DOMAIN_EMBED_QUERIES_PATH": str(planted.queries),
        "DOMAIN_EMBED_ARTIFACTS_PATH": str(tmp_path / "artifacts"),
        "DOMAIN_EMBED_BASE_MODEL": tiny_model,
        "DOMAIN_EMBED_ANTHROPIC_BASE_URL": server.base_url,
        "DAGSTER_HOME": "",
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    workspace = Workspace(DeploymentSettings())
    with workspace.open_ledger() as ledger:
        import_questions(str(planted.questions), corpus=workspace.load_corpus(), ledger=ledger, generator="test")
    with open_instance(tmp_path / "home") as instance:
        yield Runs(tmp_path / "home", instance)


def _assets_in_order() -> list[str]:
    graph = defs.resolve_asset_graph()
    wanted = defs.resolve_job_def("retrain_and_promote_job").asset_layer.selected_asset_keys
    levels = graph.toposorted_asset_keys_by_level
    return [key.to_user_string() for level in levels for key in sorted(level) if key in wanted]


def test_a_run_that_is_killed_at_every_asset_ends_well_and_does_nothing_twice(
    runs: Runs, server: FakeMessagesServer
) -> None:
    done: set[str] = set()
    for asset in _assets_in_order():
        if asset in done:
            continue
        killed = runs.kill_at(asset)
        again = runs.steps("STEP_START", killed) & done
        assert not again, f"{again} were stored already and were made again in the run that was killed at {asset}"
        done |= runs.steps("STEP_SUCCESS", killed)
    last = runs.start()
    assert last.wait(timeout=STEP_S) == 0
    assert not runs.steps("STEP_START") & done
    assert not end_dead_runs(runs.instance)

    workspace = Workspace(DeploymentSettings())
    status = read_status(workspace)
    chunks = status.point_count
    assert chunks - RECORDED <= len(server.paid) <= chunks - RECORDED + IN_FLIGHT
    assert len([event for event in workspace.lineage.events() if event.kind == "promotion"]) == 1
    assert {run.status for run in runs.instance.get_runs()} == {
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.SUCCESS,
    }


def test_a_step_ends_with_its_run_process_and_the_slots_of_its_pools_are_free_again(runs: Runs) -> None:
    killed = runs.kill_at("generated_questions")
    deadline = time.monotonic() + 60
    while (alive := _step_processes(runs.home)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not alive
    assert runs.instance.get_run_by_id(killed).tags[PID_TAG]
    assert end_dead_runs(runs.instance) == [killed]
    assert not runs.instance.event_log_storage.get_concurrency_info("anthropic_api").claimed_slots


def _step_processes(home: Path) -> list[int]:
    """Processes whose environment names the test's Dagster home, other than this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        is_step = b"DAGSTER_HOME=" + str(home).encode() in environment and state != "Z"
        if is_step and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
