"""The whole graph through Dagster: a tiny real model, an embedded Qdrant, a fake Messages server over HTTP."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from domain_embed_pipeline.console import print_result
from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.evaluation.records import Comparison
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer
from domain_embed_pipeline_tests.planted_corpus import RECORDED, PlantedCorpus, write_planted_corpus

TRAINING = {"learning_rate": 2e-2, "epochs": 6.0, "batch_size": 32, "evaluations_per_epoch": 1}
RUN_CONFIG: dict[str, Any] = {
    "ops": {
        "structural_pairs": {"config": {"use_title_body": False, "use_adjacent_sentences": False}},
        "generated_questions": {"config": {"mode": "direct"}},
        # An untrained model puts all texts close together, so its cosines say nothing about paraphrases.
        "training_pairs": {"config": {"leak_similarity": 1.01}},
        "stage_one_model": {"config": TRAINING},
        "finetuned_model": {"config": {**TRAINING, "learning_rate": 5e-3, "epochs": 1.0, "blend_weights": [0.75]}},
    }
}


@dataclass(frozen=True, slots=True)
class World:
    """One deployment in a temporary folder."""

    deployment: Deployment
    planted: PlantedCorpus
    server: FakeMessagesServer
    instance: dg.DagsterInstance

    def run(self, *, job: str = "retrain_and_promote_job", config: dict[str, Any] | None = None) -> Any:
        definitions = build_defs({"deployment": self.deployment})
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=RUN_CONFIG if config is None else config, raise_on_error=False
        )

    def config_of(self, job: str) -> dict[str, Any]:
        """The run config that the launchpad opens with."""
        return dict(build_defs({"deployment": self.deployment}).resolve_job_def(job).run_config or {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    planted = write_planted_corpus(folder)
    with FakeMessagesServer() as server, dg.instance_for_test() as instance:
        deployment = Deployment(
            corpus_path=str(planted.corpus),
            queries_path=str(planted.queries),
            artifacts_path=str(folder / "artifacts"),
            base_model=tiny_model,
            serving_alias="planted",
            anthropic_base_url=server.base_url,
        )
        workspace = deployment.workspace
        with workspace.open_ledger() as ledger:
            import_questions(str(planted.questions), corpus=workspace.load_corpus(), ledger=ledger, generator="test")
        yield World(deployment, planted, server, instance)


@pytest.fixture(scope="module")
def first_run(world: World) -> Any:
    result = world.run()
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    return result


def _metadata(result: Any, asset: str) -> dict[str, Any]:
    (event,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == asset
    ]
    return {name: value.value for name, value in event.metadata.items()}


def test_only_chunks_without_recorded_questions_are_paid_for(world: World, first_run: Any) -> None:
    assert len(world.server.paid) == world.planted.chunk_count - RECORDED
    assert _metadata(first_run, "generated_questions")["asked"] == world.planted.chunk_count - RECORDED


def test_the_tuned_model_is_shown_to_be_better_and_goes_live(world: World, first_run: Any) -> None:
    comparison = world.deployment.workspace.stored(Comparison, "model_comparison")
    assert comparison is not None
    assert comparison.verdict == "better"
    status = read_status(world.deployment.workspace)
    assert status.model_version == comparison.candidate_model_version
    assert status.point_count == world.planted.chunk_count
    assert status.parents[-1].startswith("base-")


def test_the_alias_answers_with_the_new_model(world: World, first_run: Any) -> None:
    with world.deployment.workspace.retriever() as retriever:
        hits = retriever.search("how is ask3 ask2", k=10)
    status = read_status(world.deployment.workspace)
    assert {hit.model_version for hit in hits} == {status.model_version}
    assert any("tell3" in hit.text or "tell2" in hit.text for hit in hits[:3])


def test_evaluations_carry_the_same_numeric_keys(first_run: Any) -> None:
    base, tuned = (_metadata(first_run, name) for name in ("baseline_evaluation", "finetuned_evaluation"))
    keys = {f"recall_at_{k}" for k in (1, 3, 5, 10)} | {"mrr_at_10", "ndcg_at_10", "query_count"}
    for metadata in (base, tuned):
        assert keys <= {name for name, value in metadata.items() if isinstance(value, int | float)}
    assert tuned["recall_at_5"] > base["recall_at_5"] + 0.3


def test_the_report_stands_alone(first_run: Any) -> None:
    html = Path(_metadata(first_run, "model_comparison")["report"]).read_text(encoding="utf-8")
    assert "<html" in html
    assert 'src="http' not in html
    assert 'href="http' not in html


def test_the_screen_after_a_run_names_figures_examples_lineage_report_and_web_ui(
    world: World, first_run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_result(world.deployment.workspace, home=Path("/the/home"))
    screen = capsys.readouterr().out
    for k in (1, 3, 5, 10):
        (line,) = [line for line in screen.splitlines() if f"Recall@{k} " in line][:1]
        assert re.search(r"0\.\d{3}.*\+0\.\d{3} +\[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]", line), line
    assert "Verdict: better" in screen
    assert (screen.count("before"), screen.count("after ")) == (9, 9)
    status = read_status(world.deployment.workspace)
    report = _metadata(first_run, "model_comparison")["report"]
    for name in (
        str(status.collection),
        str(status.model_version),
        status.parents[-1],
        str(report),
        "make ui",
        "/the/home",
    ):
        assert name in screen, name


def test_a_second_run_pays_trains_encodes_and_swaps_nothing(world: World, first_run: Any) -> None:
    paid, versions = len(world.server.paid), world.deployment.workspace.registry.versions()
    live = read_status(world.deployment.workspace)
    result = world.run()
    assert result.success
    assert len(world.server.paid) == paid
    assert _metadata(result, "generated_questions")["asked"] == 0
    assert world.deployment.workspace.registry.versions() == versions
    assert read_status(world.deployment.workspace).collection == live.collection


def test_a_single_asset_can_be_materialized_alone(world: World, first_run: Any) -> None:
    definitions = build_defs({"deployment": world.deployment})
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=world.instance, asset_selection=[dg.AssetKey("baseline_evaluation")])
    assert result.success


def test_a_changed_document_is_found_again(world: World, first_run: Any, tmp_path: Path) -> None:
    status = read_status(world.deployment.workspace)
    assert status.drift is not None
    assert (status.drift.added, status.drift.changed, status.drift.removed) == (0, 0, 0)
    extra = world.planted.corpus / "extra.md"
    extra.write_text("# Extra\n\nA document that came later, with words enough to stand alone.\n", encoding="utf-8")
    try:
        drift = read_status(world.deployment.workspace).drift
        assert drift is not None
        assert drift.added == 1
    finally:
        extra.unlink()
        shutil.rmtree(tmp_path, ignore_errors=True)


def test_without_a_passing_verdict_the_alias_stays_and_an_override_is_recorded(world: World, first_run: Any) -> None:
    workspace = world.deployment.workspace
    live = read_status(workspace).collection
    ops = RUN_CONFIG["ops"] | {
        "stage_one_model": {"config": {**TRAINING, "max_steps": 1}},
        "finetuned_model": {"config": {"enabled": False, "blend_weights": []}},
    }
    result = world.run(config={"ops": ops})
    assert not result.success
    comparison = workspace.stored(Comparison, "model_comparison")
    assert comparison is not None
    assert comparison.verdict != "better"
    assert not world.run(job="promote_job", config={}).success
    assert read_status(workspace).collection == live
    reason = "the ward asked for it"
    forced = world.run(job="promote_job", config={"ops": {"serving_alias": {"config": {"override_reason": reason}}}})
    assert forced.success
    assert read_status(workspace).model_version == comparison.candidate_model_version
    event = workspace.lineage.events("planted")[-1]
    assert (event.kind, event.reason) == ("override", reason)


def test_the_evaluate_job_measures_again_with_its_own_config(world: World, first_run: Any) -> None:
    result = world.run(job="evaluate_job", config={})
    done = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert done == {
        "alternatives", "baseline_evaluation", "expanded_baseline_evaluation", "serving_evaluation",
        "finetuned_evaluation", "model_comparison",
    }  # fmt: skip


def test_the_reindex_job_serves_the_corpus_as_it_is_with_the_live_model_and_without_a_verdict(
    world: World, first_run: Any
) -> None:
    workspace = world.deployment.workspace
    before = read_status(workspace)
    extra = world.planted.corpus / "later.md"
    extra.write_text("# Later\n\ntell3 tell4 came later and is noted here with words enough.\n", encoding="utf-8")
    try:
        result = world.run(job="reindex_job", config=world.config_of("reindex_job"))
    finally:
        extra.unlink()
    assert result.success
    after = read_status(workspace)
    assert after.model_version == before.model_version
    assert after.collection != before.collection
    assert after.point_count == world.planted.chunk_count + 1
    assert workspace.lineage.events("planted")[-1].kind == "reindex"
    assert _metadata(result, "serving_collection")["verified"] is True


def test_a_candidate_of_another_model_cannot_use_the_reindex_job_to_go_live(world: World, first_run: Any) -> None:
    live = read_status(world.deployment.workspace).collection
    config = {"ops": {"serving_collection": {"config": {"model": "candidate"}}}}
    comparison = world.deployment.workspace.stored(Comparison, "model_comparison")
    assert comparison is not None
    result = world.run(job="reindex_job", config=config)
    is_other = comparison.candidate_model_version != read_status(world.deployment.workspace).model_version
    assert result.success is not is_other
    assert not is_other or read_status(world.deployment.workspace).collection == live
