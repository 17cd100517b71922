"""Sensors: what starts runs when something happens. All are off until you switch them on under Automation.

What belongs here: from a look at the world to run requests, without heavy libraries. What does not: the looking itself
(`drops.watching`), long work (jobs).

New documents take two steps. `corpus_drop_sensor` sees *that* documents changed and starts `index_new_documents_job`,
which makes them searchable and, as its last step, measures how new they are and decides. Measuring needs the documents
read and sometimes a model, which does not fit into a tick, and nobody should wait for it before documents are served.
`retrain_sensor` reads the decision from that run's tags and starts the training, or says why not.
"""

import time
from typing import Any

import dagster as dg

from domain_embed_pipeline.defs.assets.drops import DECISION_TAG, REASON_TAG
from domain_embed_pipeline.defs.jobs import TRAINS, index_new_documents_job, retrain_and_promote_job
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.drops.watching import look_at_corpus
from domain_embed_pipeline.settings import DeploymentSettings

DROP_TAG = "domain_embed/drop"
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]


@dg.sensor(
    job=index_new_documents_job,
    minimum_interval_seconds=DeploymentSettings().drop_interval_s,
    description="Sees new, changed, renamed and deleted documents and has the live index brought up to date. A drop "
    "that is still being written waits until nothing moves for DOMAIN_EMBED_DROP_QUIET_S, or for its marker file.",
)
def corpus_drop_sensor(context: dg.SensorEvaluationContext, deployment: Deployment) -> dg.SensorResult | dg.SkipReason:
    """One look at the files. The cursor moves only together with a request."""
    look = look_at_corpus(
        deployment.workspace,
        cursor=context.cursor,
        now=time.time(),
        has_failed=lambda run_key: _has_failed(context.instance, run_key),
    )
    if look.request is None:
        return dg.SkipReason(look.reason)
    if waiting := _waiting(context.instance, job_name=index_new_documents_job.name):
        return dg.SkipReason(f"Run {waiting[0]} has not begun yet and will take these documents along.")
    request = dg.RunRequest(run_key=look.request.run_key, tags={DROP_TAG: look.request.summary})
    return dg.SensorResult(run_requests=[request], cursor=look.request.cursor)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[index_new_documents_job],
    request_job=retrain_and_promote_job,
    minimum_interval_seconds=30,
    description="Starts a training when index_new_documents_job decided that the new documents are worth one.",
)
def retrain_sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Obey the decision in the tags of an index run."""
    run = context.dagster_run
    action, reason = run.tags.get(DECISION_TAG), run.tags.get(REASON_TAG, "no decision was made")
    if action != "retrain":
        return dg.SkipReason(f"Index only: {reason}")
    if waiting := _waiting(context.instance, tags=TRAINS):
        return dg.SkipReason(f"Run {waiting[0]} has not begun yet and will learn from these documents: {reason}")
    return dg.RunRequest(run_key=f"retrain:{run.run_id}", tags={REASON_TAG: reason})


def _has_failed(instance: dg.DagsterInstance, run_key: str) -> bool:
    """Whether the newest run of a request failed; one that a person cancelled did not."""
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    return bool(runs) and runs[0].status == dg.DagsterRunStatus.FAILURE


def _waiting(instance: dg.DagsterInstance, **match: Any) -> list[str]:
    """A run of those that match which has not begun yet, if there is one."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_WAITING, **match), limit=1)
    return [run.run_id for run in runs]


DROP_SENSORS = [corpus_drop_sensor, retrain_sensor]
