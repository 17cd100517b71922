"""A run in step processes of their own, as `domain-embed run` starts it, on an instance that the web UI can open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from domain_embed_pipeline.defs.execution import (
    PID_TAG,
    RunEvent,
    config_of_job,
    end_dead_runs,
    open_instance,
    run_job,
)
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DAGSTER_HOME", "")  # restored afterwards: open_instance sets it
    return tmp_path / "home"


def test_the_instance_has_the_projects_pools_and_no_telemetry(home: Path) -> None:
    with open_instance(home) as instance:
        assert instance.global_op_concurrency_default_limit == 1
        assert not instance.telemetry_enabled
        assert "domain_embed_pipeline" in instance.managed_python_loggers


def test_a_job_brings_the_run_config_it_was_defined_with() -> None:
    assert config_of_job("reindex_job") == {"ops": {"serving_collection": {"config": {"model": "live"}}}}
    assert config_of_job("evaluate_job") == {}


def test_a_home_that_is_set_up_otherwise_stays_as_it_is(home: Path) -> None:
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    with open_instance(home) as instance:
        assert instance.global_op_concurrency_default_limit is None
    assert "pools" not in (home / "dagster.yaml").read_text(encoding="utf-8")


def test_a_run_whose_process_is_gone_gives_its_pool_slots_back(home: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with open_instance(home) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
        run = dg.DagsterRun(job_name="j", status=dg.DagsterRunStatus.STARTED, tags={PID_TAG: str(gone.pid)})
        instance.add_run(run)
        instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "step")
        assert instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert end_dead_runs(instance) == [run.run_id]
        assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def test_the_slot_of_a_step_that_was_interrupted_does_not_keep_the_next_run_waiting(home: Path) -> None:
    with open_instance(home) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")
        ended = dg.DagsterRun(job_name="j", status=dg.DagsterRunStatus.FAILURE)
        running = dg.DagsterRun(job_name="j", status=dg.DagsterRunStatus.STARTED, tags={PID_TAG: str(os.getpid())})
        for run in (ended, running):
            instance.add_run(run)
            storage.claim_concurrency_slot("gpu", run.run_id, "step")
        assert storage.get_concurrency_info("gpu").active_run_ids == {ended.run_id}
        assert end_dead_runs(instance) == []
        assert storage.get_concurrency_info("gpu").active_run_ids <= {running.run_id}
        assert storage.claim_concurrency_slot("gpu", running.run_id, "step").is_claimed


@pytest.mark.slow
def test_a_job_runs_in_step_processes_and_reports_what_happens(
    home: Path, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = write_planted_corpus(tmp_path)
    monkeypatch.setenv("DOMAIN_EMBED_CORPUS_PATH", str(planted.corpus))
    monkeypatch.setenv("DOMAIN_EMBED_QUERIES_PATH", str(planted.queries))
    monkeypatch.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DOMAIN_EMBED_BASE_MODEL", tiny_model)
    events: list[RunEvent] = []
    with open_instance(home) as instance:
        outcome = run_job(instance, "retrain_and_promote_job", run_config={}, on_event=events.append)
    # Nobody to ask and no headings: there are no pairs, and training says so instead of training on nothing.
    assert not outcome.succeeded
    assert [failure.step for failure in outcome.failures] == ["stage_one_model"]
    assert "0 training pairs" in outcome.failures[0].message
    assert {event.step for event in events if event.kind == "step_succeeded"} >= {"corpus_chunks", "training_pairs"}
