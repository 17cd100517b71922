"""Jobs: what people start from the UI, the CLI, schedules and sensors."""

from typing import Any

import dagster as dg

from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of
from domain_embed_pipeline.defs.rollback import rollback_alias_job
from domain_embed_pipeline.settings import DeploymentSettings

_MOST_SECONDS = str(round(3600 * DeploymentSettings().max_run_hours))
TAGS = {"dagster/max_runtime": _MOST_SECONDS}
"""A run that hangs is ended by the daemon and gives back what others wait for."""
EXCLUSIVE = {"domain_embed/exclusive": "retrain", **TAGS}
"""Runs with this tag wait for each other (`dagster.yaml`)."""

NEW_DOCUMENTS = dg.AssetSelection.assets("served_documents", "retrain_decision")

TRAINS = {"domain_embed/trains": "yes"}
"""By this tag runs of all jobs that train are found."""


def _retraining(profile: str, opening: str) -> dict[str, Any]:
    """Documents to a served index, with the knobs of a profile in the launchpad."""
    return {
        "selection": dg.AssetSelection.all() - NEW_DOCUMENTS,
        "description": "Documents to a served index: chunks, questions, pairs, training, verdict, and the swap if it "
        f"passes. {opening}",
        "config": run_config_of(profile),
        "tags": {**EXCLUSIVE, **TRAINS},
    }


retrain_and_promote_job = dg.define_asset_job(
    "retrain_and_promote_job",
    **_retraining(
        DeploymentSettings().profile,
        "The launchpad opens with the knobs of the deployment's profile (DOMAIN_EMBED_PROFILE); schedule and sensors "
        "start this one.",
    ),
)

PROFILE_JOBS = [
    dg.define_asset_job(
        f"retrain_and_promote_{profile}_job",
        **_retraining(profile, f"The launchpad opens with the knobs of the profile {profile}."),
    )
    for profile in PROFILES
]
"""The same by profile, to pick from in the UI."""

evaluate_job = dg.define_asset_job(
    name="evaluate_job",
    selection=dg.AssetSelection.assets(
        "baseline_evaluation",
        "expanded_baseline_evaluation",
        "serving_evaluation",
        "finetuned_evaluation",
        "alternatives",
        "model_comparison",
    ),
    description="Measures base, live and candidate again on the evaluation set as it is, and renews the verdict.",
    tags=TAGS,
)

promote_job = dg.define_asset_job(
    name="promote_job",
    selection=dg.AssetSelection.assets("serving_collection", "serving_alias").without_checks(),
    description="Indexes and serves the candidate of the last comparison; an override needs a reason.",
    tags=EXCLUSIVE,
)

serve_base_job = dg.define_asset_job(
    name="serve_base_job",
    selection=dg.AssetSelection.assets("serving_evaluation", "serving_collection", "serving_alias").without_checks(),
    description="Serves the base model in its best mode while nothing is live: for the time until a candidate is shown "
    "to be better. It replaces nothing that serves.",
    config={"ops": {"serving_collection": {"config": {"model": "base"}}}},
    tags=EXCLUSIVE,
)

reindex_job = dg.define_asset_job(
    name="reindex_job",
    selection=dg.AssetSelection.assets(
        "corpus_chunks",
        "document_splits",
        "evaluation_set",
        "serving_evaluation",
        "serving_collection",
        "serving_alias",
    ),
    description="Rebuilds the live model's index for the corpus as it is now, verifies it and swaps it in. No verdict "
    "is asked for, since the model stays.",
    config={"ops": {"serving_collection": {"config": {"model": "live"}}}},
    tags=EXCLUSIVE,
)

index_new_documents_job = dg.define_asset_job(
    name="index_new_documents_job",
    selection=NEW_DOCUMENTS,
    description="Serves new, changed and deleted documents by the live model within a minute, and decides whether they "
    "are worth a training.",
    tags={"domain_embed/exclusive": "index"},
)

ALL_JOBS = [
    retrain_and_promote_job,
    *PROFILE_JOBS,
    index_new_documents_job,
    evaluate_job,
    promote_job,
    serve_base_job,
    reindex_job,
    rollback_alias_job,
]
