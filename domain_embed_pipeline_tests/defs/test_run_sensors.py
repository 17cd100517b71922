"""Sensors over runs, ticked through their states on an instance of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.run_sensors import notify_of_failure, question_batches_sensor
from domain_embed_pipeline_tests import test_notifying
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer

CHUNKS = 6
BATCHES = {"ops": {"generated_questions": {"config": {"mode": "batch", "batch_wait_minutes": 0}}}}
QUESTIONS = [dg.AssetKey("corpus_chunks"), dg.AssetKey("generated_questions")]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def server() -> Iterator[FakeMessagesServer]:
    with FakeMessagesServer(batch_seconds=3600) as running:
        yield running


@pytest.fixture
def deployment(tmp_path: Path, tiny_model: str, server: FakeMessagesServer) -> Deployment:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(CHUNKS):
        (corpus / f"{number}.md").write_text(f"# Page {number}\n\n{'tell1 tell2 is noted here. ' * 12}{number}\n")
    return Deployment(
        corpus_path=str(corpus),
        artifacts_path=str(tmp_path / "artifacts"),
        base_model=tiny_model,
        anthropic_base_url=server.base_url,
    )


def _ask(deployment: Deployment, instance: dg.DagsterInstance, config: Any = BATCHES) -> Any:
    job = build_defs({"deployment": deployment}).resolve_job_def("retrain_and_promote_job")
    return job.execute_in_process(instance=instance, run_config=config, asset_selection=QUESTIONS, raise_on_error=False)


def _tick(deployment: Deployment, instance: dg.DagsterInstance) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, resources={"deployment": deployment}) as context:
        result = question_batches_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def _reason(result: dg.SensorResult) -> str:
    assert not result.run_requests
    return str(result.skip_reason)


def test_batches_that_outlast_a_run_are_picked_up_when_they_are_done(
    deployment: Deployment, instance: dg.DagsterInstance, server: FakeMessagesServer
) -> None:
    assert "No batch is open" in _reason(_tick(deployment, instance))

    waiting = _ask(deployment, instance)
    assert not waiting.success
    assert len(server.paid) < CHUNKS
    assert any("no_batch_is_under_way" in str(event.event_specific_data) for event in waiting.all_events)
    assert "1 of 1 batches still run" in _reason(_tick(deployment, instance))

    server.batch_seconds = 0
    (request,) = _tick(deployment, instance).run_requests or []
    assert request.run_config == BATCHES
    assert set(request.asset_selection or ()) == set(QUESTIONS)
    (again,) = _tick(deployment, instance).run_requests or []
    assert again.run_key == request.run_key

    continued = _ask(deployment, instance, request.run_config)
    assert continued.success
    assert len(server.paid) == CHUNKS
    assert len(server.batches) == 1
    assert "No batch is open" in _reason(_tick(deployment, instance))


def test_batches_of_a_run_that_is_under_way_are_left_to_it(
    deployment: Deployment, instance: dg.DagsterInstance, server: FakeMessagesServer
) -> None:
    _ask(deployment, instance)
    server.batch_seconds = 0
    instance.add_run(dg.DagsterRun(job_name="retrain_and_promote_job", status=dg.DagsterRunStatus.STARTED))
    assert "under way" in _reason(_tick(deployment, instance))


@dg.op
def broken() -> None:
    raise ValueError("the ward is on fire")


@dg.job
def broken_job() -> None:
    broken()


def _fail(job: dg.JobDefinition, instance: dg.DagsterInstance) -> dg.RunStatusSensorContext:
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    return dg.build_run_status_sensor_context(
        sensor_name="run_failure_sensor",
        dagster_event=next(event for event in result.all_events if event.is_run_failure),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        resources={"deployment": Deployment()},
    )


def test_a_failed_run_is_told_with_its_step_its_cause_and_a_link(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_NOTIFIER", f"{test_notifying.__name__}:keep")
    monkeypatch.setenv("DOMAIN_EMBED_UI_URL", "https://dagster.example/")
    context = _fail(broken_job, instance)
    notify_of_failure(context.for_run_failure())
    notice = test_notifying.kept[-1]
    assert notice.title == f"broken_job {context.dagster_run.run_id[:8]}: failed"
    assert notice.text == "broken: ValueError: the ward is on fire"
    assert notice.link == f"https://dagster.example/runs/{context.dagster_run.run_id}"


def test_a_verdict_that_stops_a_run_is_told_as_what_it_is(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset
    def model_comparison() -> None: ...

    @dg.asset_check(asset=model_comparison, blocking=True)
    def candidate_is_better() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    monkeypatch.setenv("DOMAIN_EMBED_NOTIFIER", f"{test_notifying.__name__}:keep")
    job = dg.Definitions(
        assets=[model_comparison],
        asset_checks=[candidate_is_better],
        jobs=[dg.define_asset_job("judge_job")],
    ).resolve_job_def("judge_job")
    notify_of_failure(_fail(job, instance).for_run_failure())
    assert test_notifying.kept[-1].title.endswith("the candidate was not shown to be better")
