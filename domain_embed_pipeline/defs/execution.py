"""Running jobs from outside the web UI, on the same instance, so that every run is seen there.

What belongs here: the instance, starting a job in Dagster's multiprocess executor, following it. What does not: why a
step failed (`failures`), how progress looks (the CLI).
"""

import copy
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.runs import SqliteRunStorage

from domain_embed_pipeline.defs.failures import cause_of_failure

PID_TAG = "domain_embed/pid"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run."""

    kind: str
    """`step_started`, `step_succeeded`, `step_failed`, `check_failed` or `log`."""
    step: str
    message: str


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    run_id: str
    succeeded: bool
    failures: tuple[RunEvent, ...]
    failed_checks: tuple[str, ...]
    interrupted: bool = False
    """Ended by Ctrl-C or a termination signal; what was done is stored."""


def job_named(name: str) -> dg.JobDefinition:
    """A job of the project's definitions; step processes find their job through this function."""
    from domain_embed_pipeline.definitions import defs

    return defs.resolve_job_def(name)


def config_of_job(name: str) -> dict[str, Any]:
    """The run config that a job itself comes with: what the launchpad opens with."""
    return copy.deepcopy(dict(job_named(name).run_config or {}))


def open_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster instance in `home`, which gets the project's dagster.yaml when it has none.

    `.dagster_home` here always gets it anew; a home elsewhere may be set up otherwise, for PostgreSQL, say.
    """
    home.mkdir(parents=True, exist_ok=True)
    project_file, own_file = Path("dagster.yaml"), home / "dagster.yaml"
    is_ours = home.resolve() == Path(".dagster_home").resolve()
    if project_file.is_file() and (is_ours or not own_file.exists()):
        shutil.copyfile(project_file, own_file)
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    # Threads that spin while they wait made a training step three times slower on cores that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return dg.DagsterInstance.get()


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed and free the pool slots of ended runs; returns the ids of the former.

    A killed run, and the step that an interrupted one was in, would otherwise hold their slots for ever, and the next
    run would wait for them: only Dagster's daemon frees them, which need not be there. A failed run can be executed
    again from failure. Processes of other machines cannot be seen, so nothing is done on an instance that several may
    share.
    """
    if not isinstance(instance.run_storage, SqliteRunStorage):
        return []
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        pid = _pid_of(instance, run)
        if pid is not None and not _is_alive(pid):
            instance.report_run_failed(run, message="The process that ran it is gone.")
            ended.append(run.run_id)
    _free_slots_of_ended_runs(instance)
    return ended


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in info.active_run_ids | info.assigned_run_ids | info.pending_run_ids:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def _pid_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """The run process: from the tag that `run_job` sets, else from what Dagster's executor logged."""
    if PID_TAG in run.tags:
        return int(run.tags[PID_TAG])
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in records:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            return int(str(pid.value))
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def run_job(
    instance: dg.DagsterInstance,
    job_name: str,
    *,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    on_event: Callable[[RunEvent], None] | None = None,
) -> RunOutcome:
    """Run a job to its end in step processes of its own.

    Args:
        instance: Where the run is recorded.
        job_name: One of `defs.jobs`.
        run_config: Knobs of the assets; the job's own config when empty.
        tags: Tags of the run.
        on_event: Called in another thread with what happens.
    """
    job = dg.build_reconstructable_job(
        "domain_embed_pipeline.defs.execution", "job_named", reconstructable_args=(job_name,)
    )
    config = run_config or job.get_definition().run_config or {}
    all_tags = {**(tags or {}), PID_TAG: str(os.getpid())}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    follower = _Follower(instance, all_tags, on_event or (lambda event: None))
    with follower:
        result = dg.execute_job(
            job, instance=instance, run_config={**config, **quiet}, tags=all_tags, raise_on_error=False
        )
    return RunOutcome(
        result.run_id,
        result.success,
        tuple(follower.failures),
        tuple(follower.failed_checks),
        interrupted=any(_is_interruption(event) for event in result.all_events),
    )


def _is_interruption(event: dg.DagsterEvent) -> bool:
    if event.event_type == dg.DagsterEventType.RUN_CANCELED:
        return True
    reason = event.job_failure_data.failure_reason if event.event_type == dg.DagsterEventType.RUN_FAILURE else None
    return reason is not None and reason.name == "UNEXPECTED_TERMINATION"


class _Follower:
    """Reads a run's event log while it runs."""

    def __init__(
        self, instance: dg.DagsterInstance, tags: Mapping[str, str], on_event: Callable[[RunEvent], None]
    ) -> None:
        self._instance = instance
        self._known = {run.run_id for run in instance.get_runs(dg.RunsFilter(tags=dict(tags)))}
        self._tags = dict(tags)
        self._on_event = on_event
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._cursor: str | None = None
        self._run_id: str | None = None
        self.failures: list[RunEvent] = []
        self.failed_checks: list[str] = []

    def __enter__(self) -> "_Follower":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(timeout=30)

    def _follow(self) -> None:
        while not self._done.wait(0.5):
            self._read()
        self._read()

    def _read(self) -> None:
        if self._run_id is None:
            runs = self._instance.get_runs(dg.RunsFilter(tags=self._tags), limit=5)
            self._run_id = next((run.run_id for run in runs if run.run_id not in self._known), None)
        if self._run_id is None:
            return
        connection = self._instance.get_records_for_run(self._run_id, cursor=self._cursor)
        self._cursor = connection.cursor
        for record in connection.records:
            event = self._event(record.event_log_entry)
            if event is not None:
                self._on_event(event)

    def _event(self, entry: dg.EventLogEntry) -> RunEvent | None:
        step = entry.step_key or ""
        if not entry.is_dagster_event:
            return RunEvent("log", step, entry.user_message)
        event = entry.get_dagster_event()
        kinds = {"STEP_START": "step_started", "STEP_SUCCESS": "step_succeeded", "STEP_FAILURE": "step_failed"}
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            return self._check(event.asset_check_evaluation_data)
        if event.event_type_value not in kinds:
            return None
        message = cause_of_failure(event) if event.is_step_failure else ""
        result = RunEvent(kinds[event.event_type_value], step, message)
        if event.is_step_failure:
            self.failures.append(result)
        return result

    def _check(self, check: Any) -> RunEvent | None:
        if check.passed:
            return None
        line = f"{check.check_name}: {check.description}"
        if check.severity == dg.AssetCheckSeverity.ERROR:
            self.failed_checks.append(check.check_name)
        return RunEvent("check_failed", check.asset_key.to_user_string(), line)
