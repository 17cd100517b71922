"""The job that goes back, as the UI runs it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.serving.alias import current_target
from domain_embed_pipeline_tests.serving.deployed import NEW, OLD, deployment_at, go_live, register
from domain_embed_pipeline_tests.serving.scenario import ALIAS


def run(deployment: Deployment, instance: dg.DagsterInstance, **config: str) -> bool:
    job = build_defs({"deployment": deployment}).resolve_job_def("rollback_alias_job")
    run_config = {"ops": {"rolled_back_alias": {"config": config}}} if config else {}
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False).success


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = deployment_at(tmp_path)
    for encoder in (OLD, NEW):
        register(deployment.workspace.registry, encoder)
    return deployment


def test_the_job_goes_back_records_it_and_shows_it_on_the_page_of_the_alias(deployment: Deployment) -> None:
    old, new = go_live(deployment, OLD, NEW)
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(deployment, instance, reason="readers complain")
        event = instance.get_latest_materialization_event(dg.AssetKey("serving_alias"))
    with deployment.workspace.open_store() as client:
        assert current_target(client, ALIAS) == old
    assert [row.reason for row in deployment.workspace.lineage.events()] == ["readers complain"]
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert (shown["collection"].value, shown["previous_collection"].value) == (old, new)
    assert float(shown["swap_duration_s"].value) < 1.0  # type: ignore[arg-type]


def test_the_job_fails_and_changes_nothing_when_there_is_nothing_to_go_back_to(deployment: Deployment) -> None:
    (only,) = go_live(deployment, OLD)
    with dg.DagsterInstance.ephemeral() as instance:
        assert not run(deployment, instance)
        assert instance.get_latest_materialization_event(dg.AssetKey("serving_alias")) is None
    with deployment.workspace.open_store() as client:
        assert current_target(client, ALIAS) == only
    assert deployment.workspace.lineage.events() == []
