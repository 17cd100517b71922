"""The weekly schedule and staleness: what changed is seen, what did not is fresh."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.schedules import weekly_retrain_schedule
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline_tests.planted_corpus import PlantedCorpus, write_planted_corpus

DATA = ["corpus_chunks", "document_splits", "generated_questions", "structural_pairs", "evaluation_set"]
REST = [
    "training_pairs", "stage_one_model", "hard_negatives", "finetuned_model", "baseline_evaluation",
    "expanded_baseline_evaluation", "serving_evaluation", "finetuned_evaluation", "alternatives",
    "model_comparison",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """A deployment whose data assets were made once."""

    deployment: Deployment
    planted: PlantedCorpus
    instance: dg.DagsterInstance

    def make(self, names: list[str]) -> None:
        job = build_defs({"deployment": self.deployment}).get_implicit_global_asset_job_def()
        keys = [dg.AssetKey(name) for name in names]
        assert job.execute_in_process(instance=self.instance, asset_selection=keys).success


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    planted = write_planted_corpus(folder)
    deployment = Deployment(
        corpus_path=str(planted.corpus),
        queries_path=str(planted.queries),
        artifacts_path=str(folder / "artifacts"),
        base_model=tiny_model,
    )
    with dg.instance_for_test() as instance:
        made = World(deployment, planted, instance)
        made.make(DATA)
        yield made


def _statuses(world: World, definitions: dg.Definitions) -> dict[str, StaleStatus]:
    graph = definitions.get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
    return {name: resolver.get_status(dg.AssetKey(name)) for name in DATA}


def test_an_untouched_corpus_leaves_everything_fresh(world: World) -> None:
    definitions = build_defs({"deployment": world.deployment})
    assert set(_statuses(world, definitions).values()) == {StaleStatus.FRESH}
    world.make(["corpus_chunks"])
    assert set(_statuses(world, definitions).values()) == {StaleStatus.FRESH}


def test_a_changed_prompt_makes_questions_stale_and_nothing_before_them(world: World) -> None:
    definitions = build_defs({"deployment": world.deployment})
    questions = dg.AssetKey("generated_questions")
    changed = definitions.map_asset_specs(
        func=lambda spec: spec.replace_attributes(code_version="another prompt") if spec.key == questions else spec
    )
    statuses = _statuses(world, changed)
    assert statuses.pop("generated_questions") == StaleStatus.STALE
    before = {name: statuses[name] for name in ("corpus_chunks", "document_splits", "structural_pairs")}
    assert set(before.values()) == {StaleStatus.FRESH}


def _tick(world: World) -> dg.RunRequest | dg.SkipReason:
    with dg.build_schedule_context(
        instance=world.instance,
        scheduled_execution_time=datetime.datetime(2026, 1, 4, 3, tzinfo=datetime.UTC),
        repository_def=build_defs({"deployment": world.deployment}).get_repository_def(),
        resources={"deployment": world.deployment},
    ) as context:
        return weekly_retrain_schedule(context)


def _why(result: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(result, dg.RunRequest)
    return result.tags["domain_embed/why"]


def _pretend(world: World) -> None:
    """Materialization events of the assets that train, as a run would leave them; no training is needed to compare."""
    graph = build_defs({"deployment": world.deployment}).get_repository_def().asset_graph
    ledger_digest = "0 answers (to 0), 0 recorded (to 0)"
    for name in REST:
        key = dg.AssetKey(name)
        parents = {
            f"dagster/input_data_version/{parent.to_user_string()}": _version(world, parent)
            for parent in graph.get(key).parent_keys
        }
        code = {"dagster/code_version": str(graph.get(key).code_version), "dagster/data_version": f"{name}-1"}
        metadata = {"ledger_digest": ledger_digest}
        world.instance.report_runless_asset_event(dg.AssetMaterialization(name, tags=code | parents, metadata=metadata))


def _version(world: World, key: dg.AssetKey) -> str:
    event = world.instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return (event.asset_materialization.tags or {})["dagster/data_version"]


def test_the_schedule_runs_for_a_reason_and_skips_for_one(world: World) -> None:
    assert _why(_tick(world)).endswith(" was never made")

    _pretend(world)
    skipped = _tick(world)
    assert isinstance(skipped, dg.SkipReason)
    assert "Nothing changed" in str(skipped.skip_message)

    with world.deployment.workspace.open_ledger() as ledger:
        corpus = world.deployment.workspace.load_corpus()
        import_questions(str(world.planted.questions), corpus=corpus, ledger=ledger, generator="test")
    assert "recorded" in _why(_tick(world))

    extra = world.planted.corpus / "later.md"
    extra.write_text("# Later\n\ntell3 tell4 came later and is noted here with words enough.\n", encoding="utf-8")
    assert _why(_tick(world)) == "documents, queries or user pairs changed"

    world.make(["corpus_chunks"])
    assert _why(_tick(world)).startswith("corpus_chunks changed after ")


def test_when_it_looks_is_a_setting() -> None:
    assert weekly_retrain_schedule.cron_schedule == "0 3 * * 0"
    assert weekly_retrain_schedule.execution_timezone == "UTC"
