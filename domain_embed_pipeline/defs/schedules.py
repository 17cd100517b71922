"""Scheduled retraining, which looks first whether there is anything new to learn.

What belongs here: from a look at the inputs and the last results to a run or a reason. What does not: digests of what
lies outside (`inputs`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from domain_embed_pipeline.defs.jobs import retrain_and_promote_job
from domain_embed_pipeline.defs.profiles import run_config_of
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.inputs import files_digest, ledger_digest
from domain_embed_pipeline.settings import DeploymentSettings

VERDICT = dg.AssetKey("model_comparison")
WHY_TAG = "domain_embed/why"
_SETTINGS = DeploymentSettings()


@dg.schedule(
    job=retrain_and_promote_job,
    cron_schedule=_SETTINGS.retrain_cron,
    execution_timezone=_SETTINGS.retrain_timezone,
    description="Looks for new documents, queries, answers and code, and retrains if there are any; else it says that "
    "nothing changed. When: DOMAIN_EMBED_RETRAIN_CRON and DOMAIN_EMBED_RETRAIN_TIMEZONE (Sundays at 03:00 UTC).",
)
def weekly_retrain_schedule(
    context: dg.ScheduleEvaluationContext, deployment: Deployment
) -> dg.RunRequest | dg.SkipReason:
    """One look, in a second or so: no document is read and no model is loaded."""
    why = _why_retrain(context, deployment)
    if why is None:
        return dg.SkipReason("Nothing changed since the last verdict: files, ledger and code are the same.")
    profile = deployment.settings.profile
    return dg.RunRequest(run_config=run_config_of(profile), tags={WHY_TAG: why, "domain_embed/profile": profile})


def _why_retrain(context: dg.ScheduleEvaluationContext, deployment: Deployment) -> str | None:
    """What changed since the last verdict; None when nothing did."""
    assert context.repository_def is not None
    return _changed_inside(context.instance, context.repository_def.asset_graph) or _changed_outside(
        context.instance, deployment
    )


def _changed_inside(instance: dg.DagsterInstance, graph: Any) -> str | None:
    """The first asset behind the verdict that was made by other code or from other data than there are now."""
    for key in sorted(dg.AssetSelection.assets(VERDICT).upstream().resolve(graph)):
        name, tags = key.to_user_string(), _tags_of(instance, key)
        if tags is None:
            return f"{name} was never made"
        if tags.get("dagster/code_version") != graph.get(key).code_version:
            return f"{name} was made by another code version"
        for parent in sorted(graph.get(key).parent_keys):
            used = tags.get(f"dagster/input_data_version/{parent.to_user_string()}")
            if used != (_tags_of(instance, parent) or {}).get("dagster/data_version"):
                return f"{parent.to_user_string()} changed after {name} was made"
    return None


def _changed_outside(instance: dg.DagsterInstance, deployment: Deployment) -> str | None:
    workspace = deployment.workspace
    files = files_digest(deployment.settings)
    if not files or files != _noted(instance, "corpus_chunks", "files_digest"):
        return "documents, queries or user pairs changed"
    with workspace.open_ledger() as ledger:
        answers = ledger_digest(ledger)
    if answers != _noted(instance, "training_pairs", "ledger_digest"):
        return f"the ledger has {answers} now"
    return None


def _tags_of(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str] | None:
    event = instance.get_latest_materialization_event(key)
    return (event.asset_materialization.tags or {}) if event and event.asset_materialization else None


def _noted(instance: dg.DagsterInstance, asset: str, entry: str) -> str | None:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    value = event.asset_materialization.metadata.get(entry) if event and event.asset_materialization else None
    return str(value.value) if value is not None else None
