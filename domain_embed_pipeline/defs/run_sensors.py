"""Sensors over runs: people hear of a failure, and a run that waits for batches goes on when they are done.

What belongs here: what follows from how a run ended. What does not: what starts runs from outside (`sensors`,
`schedules`), why a step failed (`failures`), the ways a notice goes (`notifying`).
"""

import dagster as dg

from domain_embed_pipeline.defs.failures import cause_of_failure
from domain_embed_pipeline.defs.jobs import retrain_and_promote_job
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.notifying import Notice, make_notifier
from domain_embed_pipeline.questions.pending import has_open_batches, look_at_batches

NOT_BETTER = "candidate_is_better"
QUESTIONS = dg.AssetKey("generated_questions")
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.run_failure_sensor(
    name="run_failure_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Tells whoever DOMAIN_EMBED_NOTIFIER names (log, webhook, a function of yours) that a run failed, at "
    "which asset and how to mend it. A candidate that was not shown to be better is told as what it is.",
)
def notify_of_failure(context: dg.RunFailureSensorContext, deployment: Deployment) -> None:
    """One notice for each failed run."""
    settings = deployment.settings
    make_notifier(settings.notifier)(_notice_of(context, settings.ui_url))


def _notice_of(context: dg.RunFailureSensorContext, ui_url: str) -> Notice:
    run = context.dagster_run
    lines = [f"{event.step_key}: {cause_of_failure(event)}" for event in context.get_step_failure_events()]
    stopped = any(NOT_BETTER in line for line in lines)
    title = "the candidate was not shown to be better" if stopped else "failed"
    return Notice(
        title=f"{run.job_name} {run.run_id[:8]}: {title}",
        text="\n".join(lines) or context.failure_event.message or "The run ended without saying why.",
        job=run.job_name,
        run_id=run.run_id,
        link=f"{ui_url.rstrip('/')}/runs/{run.run_id}",
    )


@dg.sensor(
    job=retrain_and_promote_job,
    name="question_batches_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="A run whose questions are in batches ends after `batch_wait_minutes`, so that no worker waits for "
    "hours. This looks at the batches once a minute and starts the run again, with its own config, when all are done.",
)
def question_batches_sensor(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult:
    """One look at every open batch of the ledger."""
    workspace = deployment.workspace
    with workspace.open_ledger() as ledger:
        if not has_open_batches(ledger):
            return _skip("No batch is open.")
        waiting = _run_that_waits(context.instance)
        if waiting is None:
            return _skip("No run ended while its batches were running; a run that waits itself collects them.")
        if context.instance.get_run_records(dg.RunsFilter(job_name=waiting.job_name, statuses=_UNFINISHED), limit=1):
            return _skip(f"A run of {waiting.job_name} is under way and collects them.")
        with workspace.messages_client() as client:
            if client is None:
                return _skip("There are open batches and no key to ask for them with.")
            pending = look_at_batches(ledger, client)
    if not pending.are_done:
        return _skip(f"{len(pending.running)} of {len(pending.intent_ids)} batches still run: {pending.running[:3]}.")
    request = dg.RunRequest(
        run_key=f"batches:{digest_of(*pending.intent_ids)[:16]}",
        run_config=waiting.run_config,
        asset_selection=sorted(waiting.asset_selection) if waiting.asset_selection else None,
        tags={"domain_embed/continues": waiting.run_id},
    )
    return dg.SensorResult(run_requests=[request])


def _skip(reason: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason)


def _run_that_waits(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """The run that made the questions as they are now, if it left batches behind."""
    event = instance.get_latest_materialization_event(QUESTIONS)
    if event is None or event.asset_materialization is None:
        return None
    waits = event.asset_materialization.metadata.get("waits_for_batches")
    return instance.get_run_by_id(event.run_id) if waits is not None and waits.value else None


RUN_SENSORS = [notify_of_failure, question_batches_sensor]
