"""The graph as people see it: an accidental rename fails here."""

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of

GRAPH = {
    "corpus_chunks": set(),
    "document_splits": {"corpus_chunks"},
    "generated_questions": {"corpus_chunks"},
    "structural_pairs": {"corpus_chunks", "document_splits"},
    "evaluation_set": {"corpus_chunks", "document_splits", "generated_questions"},
    "training_pairs": {
        "corpus_chunks", "document_splits", "generated_questions", "structural_pairs", "evaluation_set",
    },
    "stage_one_model": {"corpus_chunks", "document_splits", "training_pairs", "evaluation_set"},
    "hard_negatives": {"corpus_chunks", "document_splits", "training_pairs", "stage_one_model"},
    "finetuned_model": {
        "corpus_chunks", "document_splits", "training_pairs", "evaluation_set", "stage_one_model", "hard_negatives",
    },
    "baseline_evaluation": {"corpus_chunks", "document_splits", "evaluation_set"},
    "expanded_baseline_evaluation": {"corpus_chunks", "document_splits", "training_pairs", "evaluation_set"},
    "serving_evaluation": {"corpus_chunks", "document_splits", "training_pairs", "evaluation_set"},
    "finetuned_evaluation": {
        "corpus_chunks", "document_splits", "training_pairs", "evaluation_set", "finetuned_model",
    },
    "alternatives": {"corpus_chunks", "document_splits", "evaluation_set", "baseline_evaluation"},
    "model_comparison": {
        "corpus_chunks", "document_splits", "evaluation_set", "generated_questions", "training_pairs",
        "finetuned_model", "baseline_evaluation", "expanded_baseline_evaluation", "serving_evaluation",
        "finetuned_evaluation", "alternatives",
    },
    "serving_collection": {
        "corpus_chunks", "training_pairs", "evaluation_set", "expanded_baseline_evaluation", "finetuned_evaluation",
        "serving_evaluation",
        "model_comparison",
    },
    "serving_alias": {"serving_collection", "serving_evaluation", "model_comparison"},
    "served_documents": {"serving_alias"},
    "retrain_decision": {"served_documents"},
}  # fmt: skip
POOLS = {
    "gpu": {
        "training_pairs", "stage_one_model", "hard_negatives", "finetuned_model", "baseline_evaluation",
        "expanded_baseline_evaluation", "serving_evaluation", "finetuned_evaluation", "alternatives",
    },
    "anthropic_api": {"generated_questions"},
    "qdrant": {"serving_collection", "serving_alias", "served_documents"},
}  # fmt: skip


def _assets() -> dict[str, dg.AssetsDefinition]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key).assets_def for key in graph.get_all_asset_keys()}


def test_the_graph_has_these_assets_and_dependencies() -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == GRAPH


def test_every_asset_has_group_kinds_owner_code_version_and_a_description_that_teaches() -> None:
    for name, asset in _assets().items():
        spec = next(iter(asset.specs))
        assert spec.group_name in {"corpus", "training_data", "models", "evaluation", "serving"}, name
        assert spec.kinds, name
        assert spec.owners, name
        assert spec.code_version, name
        assert len(spec.description or "") > 60, name


def test_steps_that_must_not_meet_share_a_pool() -> None:
    found = {name: asset.op.pool for name, asset in _assets().items() if asset.op.pool}
    assert found == {name: pool for pool, names in POOLS.items() for name in names}


def test_training_and_swapping_have_no_retry_policy() -> None:
    for name in ("stage_one_model", "finetuned_model", "serving_alias"):
        assert _assets()[name].op.retry_policy is None


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_job_that_opens_with_its_knobs(profile: str) -> None:
    job = defs.resolve_job_def(f"retrain_and_promote_{profile}_job")
    assert job.run_config == run_config_of(profile)
    assert dg.validate_run_config(job, run_config_of(profile))
    assert job.tags == defs.resolve_job_def("retrain_and_promote_job").tags


def test_blocking_checks_stand_before_what_they_protect() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {
        "no_cluster_on_two_sides",
        "no_batch_is_under_way",
        "leakage_certificate_passes",
        "no_negative_is_a_known_positive",
        "candidate_is_better",
        "collection_is_verified",
    }
