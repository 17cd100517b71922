from __future__ import annotations

from dataclasses import replace

from domain_embed_pipeline.registry.lineage import LineageLog
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.alias import current_target
from domain_embed_pipeline.serving.metadata import write_metadata
from domain_embed_pipeline.serving.records import AliasSwap, PromotionDecision, ServingCollection
from domain_embed_pipeline.serving.release import ReleaseSettings, release_collection
from domain_embed_pipeline.serving.retention import models_in, prune_models
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.deployed import CHUNKS, NEW, OLD, register
from domain_embed_pipeline_tests.serving.scenario import ALIAS, QUICK, WordEncoder, plan_of

DECISION = PromotionDecision("model-new", "better", "Recall@5 rose", True, False, None)


def release(
    workplace: Workplace, built: ServingCollection, decision: PromotionDecision = DECISION, keep: int = 2
) -> AliasSwap:
    return release_collection(
        workplace.client,
        built,
        decision=decision,
        expected_current=current_target(workplace.client, ALIAS),
        settings=ReleaseSettings(lineage_of(workplace), workplace.lock_folder, keep),
    )


def lineage_of(workplace: Workplace) -> LineageLog:
    return LineageLog(workplace.lock_folder / "lineage.jsonl")


def built_by(workplace: Workplace, encoder: WordEncoder) -> ServingCollection:
    return workplace.build_passed(plan_of(encoder, CHUNKS), CHUNKS, encoder)


def test_a_release_is_written_down_once(embedded: Workplace) -> None:
    built = built_by(embedded, NEW)
    assert release(embedded, built).swapped
    assert not release(embedded, built).swapped
    (event,) = lineage_of(embedded).events()
    assert (event.kind, event.model_version, event.collection) == ("promotion", "model-new", built.collection)


def test_a_release_that_was_killed_right_after_its_move_is_written_down_by_the_next_run(embedded: Workplace) -> None:
    built = built_by(embedded, NEW)
    embedded.swap(built.collection)
    assert not release(embedded, built).swapped
    assert [event.collection for event in lineage_of(embedded).events()] == [built.collection]


def test_an_override_is_written_down_with_its_reason(embedded: Workplace) -> None:
    decision = replace(DECISION, verdict="worse", overridden=True, override_reason="the old one is down")
    release(embedded, built_by(embedded, NEW), decision)
    (event,) = lineage_of(embedded).events()
    assert (event.kind, event.reason) == ("override", "the old one is down")


def test_models_that_any_collection_was_encoded_by_are_never_pruned(embedded: Workplace) -> None:
    registry = ModelRegistry(embedded.lock_folder / "models", vectors_folder=embedded.lock_folder / "vectors")
    for number, encoder in enumerate((OLD, NEW, WordEncoder("model-third", seed=3))):
        register(
            registry, encoder, corpus_version=f"corpus-{number}", created_at=f"2025-01-0{number + 1}T00:00:00+00:00"
        )
        release(embedded, built_by(embedded, encoder), keep=1)
    assert models_in(embedded.client) == {"model-new", "model-third"}
    assert prune_models(embedded.client, registry, keep=0) == ("model-old",)
    assert {version.model_version for version in registry.versions()} == {"model-new", "model-third"}


def test_no_model_is_pruned_while_a_collection_cannot_say_which_it_needs(embedded: Workplace) -> None:
    registry = ModelRegistry(embedded.lock_folder / "models", vectors_folder=embedded.lock_folder / "vectors")
    for number, encoder in enumerate((OLD, NEW)):
        register(registry, encoder, corpus_version=f"corpus-{number}", created_at="2025-01-01T00:00:00+00:00")
    built = built_by(embedded, NEW)
    write_metadata(embedded.client, built.collection, {"layout": 99}, retries=QUICK)
    assert prune_models(embedded.client, registry, keep=0) == ()
    assert len(registry.versions()) == 2
