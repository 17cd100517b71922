"""New documents through Dagster: sensor ticks and the runs that they ask for, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.assets.drops import DECISION_TAG, REASON_TAG
from domain_embed_pipeline.defs.jobs import TRAINS
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.sensors import corpus_drop_sensor, retrain_sensor
from domain_embed_pipeline.drops.decision import RetrainDecision
from domain_embed_pipeline_tests.drops.scenario import Place, place_of


@dataclass
class Operation:
    """A deployment with its sensors, where a request is run when a test says so."""

    place: Place
    deployment: Deployment
    instance: dg.DagsterInstance
    cursor: str | None = None

    def tick(self) -> dg.RunRequest | str:
        """The request of one tick, or the reason why there is none."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = corpus_drop_sensor(context, deployment=self.deployment)
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        assert isinstance(result, dg.SensorResult)
        (request,) = result.run_requests or []
        self.cursor = result.cursor
        return request

    def ticks(self, count: int) -> list[dg.RunRequest]:
        return [result for result in (self.tick() for _ in range(count)) if isinstance(result, dg.RunRequest)]

    def run(self, request: dg.RunRequest | None = None, config: dict[str, Any] | None = None) -> Any:
        job = build_defs({"deployment": self.deployment}).resolve_job_def("index_new_documents_job")
        return job.execute_in_process(
            instance=self.instance, tags=request.tags if request else None, run_config=config, raise_on_error=False
        )

    def decided(self, result: Any) -> dg.RunRequest | dg.SkipReason:
        """What the retrain sensor makes of a run."""
        context = dg.build_run_status_sensor_context(
            sensor_name="retrain_sensor",
            dagster_instance=self.instance,
            dagster_run=self.instance.get_run_by_id(result.run_id) or result.dagster_run,
            dagster_event=next(e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_SUCCESS),
        )
        return retrain_sensor(context)  # pyright: ignore[reportReturnType]


@pytest.fixture
def operation(tmp_path: Path, tiny_model: str) -> Iterator[Operation]:
    place = place_of(tmp_path, tiny_model, drop_quiet_s=0)
    for document in range(4):
        place.write(f"handbook-{document}.md", *range(document * 5, document * 5 + 5))
    place.go_live()
    settings = place.workspace.settings
    deployment = Deployment(
        corpus_path=settings.corpus_path,
        artifacts_path=settings.artifacts_path,
        base_model=tiny_model,
        drop_quiet_s=0.0,
    )
    with dg.instance_for_test() as instance:
        yield Operation(place, deployment, instance)


def _metadata(result: Any, asset: str) -> dict[str, Any]:
    (event,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == asset
    ]
    return {name: value.value for name, value in event.metadata.items()}


def test_a_drop_is_one_run_whose_documents_are_found_and_whose_decision_is_written_down(operation: Operation) -> None:
    assert not operation.ticks(3)
    half = operation.place.documents / "new.md"
    half.write_text("# Section 100\n\ntell10 the pump", encoding="utf-8")
    assert "moved" in str(operation.tick())
    operation.place.write("new.md", 100, 101)
    requests = operation.ticks(4)
    assert len(requests) == 1

    result = operation.run(requests[0])
    assert result.success
    assert operation.place.found(100)
    assert not operation.ticks(20)
    indexed = _metadata(result, "served_documents")
    assert (indexed["added_document_count"], indexed["deleted_document_count"]) == (1, 0)
    assert indexed["added"] > 0
    decided = _metadata(result, "retrain_decision")
    assert decided["decision"] == "index_only"
    assert "new chunks since the last training, under 50" in decided["reason"]
    run = operation.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags[DECISION_TAG], run.tags[REASON_TAG]) == ("index_only", decided["reason"])
    stored = operation.place.workspace.stored(RetrainDecision, "retrain_decision")
    assert stored is not None
    assert stored.action == "index_only"
    skipped = operation.decided(result)
    assert isinstance(skipped, dg.SkipReason)
    assert decided["reason"] in str(skipped.skip_message)


def test_a_deleted_document_is_gone_from_search_after_one_run(operation: Operation) -> None:
    operation.ticks(2)
    (operation.place.documents / "handbook-3.md").unlink()
    (request,) = operation.ticks(3)
    assert operation.run(request).success
    assert not operation.place.found(16)
    assert operation.place.live_ids() == operation.place.ids_now()


def test_a_drop_that_is_worth_a_training_starts_one(operation: Operation) -> None:
    operation.place.write("field.md", *range(500, 520))
    bounds = {"fewest_new_chunks": 2, "new_cluster_share": 0.1}
    result = operation.run(config={"ops": {"retrain_decision": {"config": bounds}}})
    assert result.success
    decided = _metadata(result, "retrain_decision")
    assert decided["decision"] == "retrain"
    assert "new clusters (bound 10%)" in decided["reason"]
    request = operation.decided(result)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[REASON_TAG] == decided["reason"]
    waiting = dg.DagsterRun(job_name="retrain_and_promote_gpu_job", status=dg.DagsterRunStatus.NOT_STARTED, tags=TRAINS)
    operation.instance.add_run(waiting)
    skipped = operation.decided(result)
    assert isinstance(skipped, dg.SkipReason)
    assert waiting.run_id in str(skipped.skip_message)


def test_a_run_that_has_not_begun_takes_further_drops_along(operation: Operation) -> None:
    operation.ticks(2)
    waiting = dg.DagsterRun(job_name="index_new_documents_job", status=dg.DagsterRunStatus.NOT_STARTED)
    operation.instance.add_run(waiting)
    operation.place.write("new.md", 100)
    assert not operation.ticks(4)
    assert waiting.run_id in str(operation.tick())
    assert operation.cursor is None


def test_when_nothing_is_live_the_job_succeeds_and_says_so(tmp_path: Path, tiny_model: str) -> None:
    place = place_of(tmp_path / "other", tiny_model)
    place.write("a.md", 1, 2)
    deployment = Deployment(
        corpus_path=str(place.documents), artifacts_path=place.workspace.settings.artifacts_path, base_model=tiny_model
    )
    with dg.instance_for_test() as instance:
        result = Operation(place, deployment, instance).run()
    assert result.success
    assert _metadata(result, "served_documents")["collection"] == "nothing is live yet"
    assert _metadata(result, "retrain_decision")["decision"] == "index_only"


def test_a_tick_needs_no_heavy_library(operation: Operation, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, dagster as dg\n"
        "from domain_embed_pipeline.defs.sensors import corpus_drop_sensor\n"
        "from domain_embed_pipeline.defs.resources import Deployment\n"
        "with dg.DagsterInstance.ephemeral() as instance:\n"
        "    context = dg.build_sensor_context(instance=instance)\n"
        f"    corpus_drop_sensor(context, deployment=Deployment(corpus_path={str(operation.place.documents)!r}, "
        f"artifacts_path={str(tmp_path / 'elsewhere')!r}))\n"
        "print(sorted({'torch', 'sentence_transformers', 'qdrant_client', 'faiss', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    assert result.stdout.strip() == "[]"
