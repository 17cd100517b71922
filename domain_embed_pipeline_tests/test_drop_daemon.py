"""New documents as they are noticed in operation: the real daemon, its code server and run processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from domain_embed_pipeline.defs.assets.drops import DECISION_TAG, REASON_TAG
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.drops.scenario import Place, place_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_000)]

SCRIPTS = Path(sys.executable).parent
LONGEST_S = 900.0


@dataclass
class Operation:
    """A deployment with documents live, and a daemon that watches them."""

    place: Place
    instance: dg.DagsterInstance
    daemon: subprocess.Popen[bytes]

    def runs(self) -> list[dg.DagsterRun]:
        """Every run there was, oldest first."""
        return list(reversed(self.instance.get_runs()))

    def ticks(self) -> list[str]:
        """What each tick of the drop sensor came to, oldest first."""
        (state,) = [row for row in self.instance.all_instigator_state() if row.name == "corpus_drop_sensor"]
        ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return [tick.skip_reason or tick.status.value for tick in reversed(ticks) if tick.status.value != "STARTED"]

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONGEST_S
        while not condition():
            assert self.daemon.poll() is None, "the daemon ended"
            assert time.monotonic() < deadline, f"{what}: {self.ticks()[-3:]}"
            time.sleep(1)

    def wait_for_runs(self, count: int) -> list[dg.DagsterRun]:
        self.wait(f"{count} finished runs", lambda: sum(run.is_finished for run in self.runs()) >= count)
        assert all(run.is_success for run in self.runs()), [run.status for run in self.runs()]
        return self.runs()

    def idle(self, count: int) -> None:
        """Wait for so many further ticks that have nothing to do."""
        start = len(self.ticks())
        self.wait(
            f"{count} idle ticks",
            lambda: sum("Nothing has changed" in tick for tick in self.ticks()[start:]) >= count,
        )


@pytest.fixture
def operation(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operation]:
    place = place_of(tmp_path, tiny_model)
    for document in range(4):
        place.write(f"handbook-{document}.md", *range(document * 5, document * 5 + 5))
    place.go_live()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    settings = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DOMAIN_EMBED_CORPUS_PATH": str(place.documents),
        "DOMAIN_EMBED_ARTIFACTS_PATH": place.workspace.settings.artifacts_path,
        "DOMAIN_EMBED_BASE_MODEL": tiny_model,
        "DOMAIN_EMBED_DROP_INTERVAL_S": "5",
        "DOMAIN_EMBED_DROP_QUIET_S": "8",
        "PYTHONPATH": str(ROOT),
        "DAGSTER_GRPC_TIMEOUT_SECONDS": "300",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for sensor in ("corpus_drop_sensor", "retrain_sensor"):
        start = [SCRIPTS / "dagster", "sensor", "start", sensor, "-w", "workspace.yaml"]
        subprocess.run(start, cwd=ROOT, check=True, capture_output=True, timeout=LONGEST_S)
    daemon = subprocess.Popen(
        [SCRIPTS / "dagster-daemon", "run", "-w", "workspace.yaml"],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=(tmp_path / "daemon.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        with dg.DagsterInstance.get() as instance:
            yield Operation(place, instance, daemon)
    finally:
        os.killpg(daemon.pid, signal.SIGINT)
        try:
            daemon.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)


def test_drops_are_indexed_once_each_decided_on_and_nothing_runs_in_between(operation: Operation) -> None:
    place = operation.place
    operation.idle(2)
    assert not operation.runs()

    # A second drop, copied slowly, one file of it in two halves.
    place.write("drop/first.md", 100, 101)
    half = place.documents / "drop" / "second.md"
    half.write_text("# Section 110\n\ntell20 the pump is noted", encoding="utf-8")
    time.sleep(6)
    place.write("drop/third.md", 120, 121)
    time.sleep(6)
    place.write("drop/second.md", 110, 111)
    (run,) = operation.wait_for_runs(1)
    assert run.job_name == "index_new_documents_job"
    assert run.tags[DECISION_TAG] == "index_only"
    assert "new chunks since the last training, under 50" in run.tags[REASON_TAG]
    assert all(place.found(number) for number in (100, 110, 120))

    (place.documents / "handbook-3.md").unlink()
    assert len(operation.wait_for_runs(2)) == 2
    assert not place.found(16)

    for number in range(5):
        place.write(f"burst-{number}.md", 200 + number)
        time.sleep(10)
    operation.wait("the last drop indexed", lambda: place.live_ids() == place.ids_now())
    operation.idle(20)
    assert 3 <= len(operation.runs()) <= 7
    assert all(run.is_success and run.job_name == "index_new_documents_job" for run in operation.runs())
    assert all(place.found(200 + number) for number in range(5))
