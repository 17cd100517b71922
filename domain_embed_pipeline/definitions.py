"""The one place where assets, checks, jobs, schedules and resources are joined."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from domain_embed_pipeline.defs.assets import corpus, drops, evaluation, models, serving, training_data
from domain_embed_pipeline.defs.checks import ALL_CHECKS
from domain_embed_pipeline.defs.io_managers import RecordIOManager
from domain_embed_pipeline.defs.jobs import ALL_JOBS
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.run_sensors import RUN_SENSORS
from domain_embed_pipeline.defs.schedules import weekly_retrain_schedule
from domain_embed_pipeline.defs.sensors import DROP_SENSORS

# Each step is a process of its own; forking from one that has imported this module saves each of them 2 seconds.
EXECUTOR = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": ["domain_embed_pipeline.definitions"]}}}
)


def build_defs(
    resource_overrides: Mapping[str, Any] | None = None, *, executor: dg.ExecutorDefinition = EXECUTOR
) -> dg.Definitions:
    """Definitions of the pipeline.

    Args:
        resource_overrides: Resources by name (`deployment`, `io_manager`) that replace the default ones.
        executor: What runs the steps of all jobs.
    """
    deployment = (resource_overrides or {}).get("deployment") or Deployment.configure_at_launch()
    resources = {"deployment": deployment, "io_manager": RecordIOManager(deployment=deployment)}
    return dg.Definitions(
        assets=dg.load_assets_from_modules([corpus, training_data, models, evaluation, serving, drops]),
        asset_checks=ALL_CHECKS,
        jobs=ALL_JOBS,
        sensors=[*DROP_SENSORS, *RUN_SENSORS],
        schedules=[weekly_retrain_schedule],
        resources=resources | dict(resource_overrides or {}),
        executor=executor,
    )


defs = build_defs()
