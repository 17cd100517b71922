"""`domain-embed run` is interrupted and killed at seeded moments; run again, it ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.planted_corpus import PlantedCorpus, write_planted_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEED = 7
INTERRUPTS, KILLS = 4, 2
CHANGES_WITH_TIME = ("live_since", "age_days")


@dataclass(frozen=True, slots=True)
class Place:
    """One deployment in a folder of its own, driven through the command line."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        """What a command prints."""
        call = [sys.executable, "-m", "domain_embed_pipeline.cli", *arguments]
        done = subprocess.run(call, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        """`domain-embed run` in a process group of its own, as a shell starts it."""
        log = (self.folder / "run.log").open("ab")
        call = [sys.executable, "-m", "domain_embed_pipeline_tests.planted_run", "--quiet"]
        with log:
            return subprocess.Popen(
                call, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def run(self) -> float:
        """Run to the end; returns seconds."""
        started = time.monotonic()
        assert self.start().wait() == 0, (self.folder / "run.log").read_text(encoding="utf-8")[-3000:]
        return time.monotonic() - started

    def disturb(self, with_signal: signal.Signals, *, after_s: float) -> int | None:
        """Send a signal to the whole group of a run; its exit code, or None when it was faster than that."""
        process = self.start()
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, with_signal)
            return process.wait(timeout=300)
        return None

    def trained(self) -> dict[str, int]:
        """When the weights of each model version were written."""
        files = (self.folder / "artifacts" / "models").glob("*/model.safetensors")
        return {path.parent.name: path.stat().st_mtime_ns for path in files}

    def outcome(self) -> dict[str, Any]:
        """All that a user would look at: what is live, and every model version."""
        status = json.loads(self.command("status", "--json"))
        models = json.loads(self.command("models", "--json"))
        kept = {name: value for name, value in status.items() if name not in CHANGES_WITH_TIME}
        return kept | {"models": sorted(row["model_version"] for row in models)}


@pytest.fixture
def planted(tmp_path: Path) -> PlantedCorpus:
    return write_planted_corpus(tmp_path)


def place_at(folder: Path, planted: PlantedCorpus, model: str) -> Place:
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(folder / "home"),
        "DOMAIN_EMBED_CORPUS_PATH": str(planted.corpus),
        "DOMAIN_EMBED_QUERIES_PATH": str(planted.queries),
        "DOMAIN_EMBED_ARTIFACTS_PATH": str(folder / "artifacts"),
        "DOMAIN_EMBED_BASE_MODEL": model,
    }
    place = Place(folder, environment)
    place.command("questions", "import", str(planted.questions), "--generator", "test")
    return place


def test_interrupted_and_killed_runs_end_as_an_undisturbed_one(
    tmp_path: Path, planted: PlantedCorpus, tiny_model: str
) -> None:
    undisturbed = place_at(tmp_path / "undisturbed", planted, tiny_model)
    duration = undisturbed.run()
    expected = undisturbed.outcome()
    assert expected["model_version"] is not None

    disturbed = place_at(tmp_path / "disturbed", planted, tiny_model)
    moments = random.Random(SEED)
    signals = [signal.SIGINT] * INTERRUPTS + [signal.SIGKILL] * KILLS
    moments.shuffle(signals)
    codes = [disturbed.disturb(sent, after_s=duration * moments.uniform(0.05, 0.6)) for sent in signals]
    # 130 from a run, 1 before one has begun, the signal's own number from what could not answer it.
    assert set(codes) <= {None, 130, 1, -signal.SIGINT, -signal.SIGKILL}
    assert sum(code is not None for code in codes) >= len(codes) // 2, "most runs were over before their signal"
    disturbed.run()
    assert disturbed.outcome() == expected

    trained = disturbed.trained()
    assert trained
    disturbed.run()
    assert disturbed.trained() == trained
    assert disturbed.outcome() == expected
    shutil.rmtree(tmp_path, ignore_errors=True)
