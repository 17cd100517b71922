from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.cli import app
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.errors import ConfigurationError, ServingError
from domain_embed_pipeline.serving.alias import current_target
from domain_embed_pipeline.serving.going_back import go_back
from domain_embed_pipeline_tests.serving.deployed import NEW, OLD, deployment_at, go_live
from domain_embed_pipeline_tests.serving.scenario import ALIAS


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return deployment_at(tmp_path)


def back(deployment: Deployment, to: str | None = None, reason: str = "answers got worse") -> str:
    workspace = deployment.workspace
    with workspace.open_store() as client:
        swap = go_back(client, ALIAS, to, reason=reason, lineage=workspace.lineage, lock_folder=workspace.locks)
    return swap.collection


def test_a_rollback_is_written_down_with_its_reason(deployment: Deployment) -> None:
    old, new = go_live(deployment, OLD, NEW)
    assert back(deployment) == old
    (event,) = deployment.workspace.lineage.events(ALIAS)
    assert (event.kind, event.model_version, event.previous_collection) == ("rollback", "model-old", new)
    assert event.reason == "answers got worse"


def test_a_rollback_to_where_the_alias_points_already_leaves_no_trace(deployment: Deployment) -> None:
    go_live(deployment, OLD, NEW)
    back(deployment, "model-old")
    with pytest.raises(ServingError):
        back(deployment, "model-old")
    assert len(deployment.workspace.lineage.events(ALIAS)) == 1


def test_a_rollback_without_a_reason_is_refused(deployment: Deployment) -> None:
    _, new = go_live(deployment, OLD, NEW)
    with pytest.raises(ConfigurationError, match="reason"):
        back(deployment, reason="  ")
    with deployment.workspace.open_store() as client:
        assert current_target(client, ALIAS) == new


def test_the_command_goes_back_and_says_where_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployment_at(tmp_path)
    old, _ = go_live(deployment, OLD, NEW)
    monkeypatch.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DOMAIN_EMBED_SERVING_ALIAS", ALIAS)
    result = CliRunner().invoke(app, ["rollback", "--reason", "complaints"])
    assert result.exit_code == 0, result.output
    assert f"{ALIAS} -> {old}" in result.stdout
    lines = (tmp_path / "artifacts" / "lineage.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["complaints"]
