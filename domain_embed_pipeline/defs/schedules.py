"""Scheduled retraining."""

import dagster as dg

from domain_embed_pipeline.defs.jobs import retrain_and_promote_job

weekly_retrain_schedule = dg.ScheduleDefinition(
    name="weekly_retrain_schedule",
    job=retrain_and_promote_job,
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    description="Sundays at 03:00 UTC. An unchanged corpus costs nothing: every step finds its result again.",
)
