from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from domain_embed_pipeline.defs.failures import cause_of_failure


def failure_of(error: SerializableErrorInfo | None) -> dg.DagsterEvent:
    return cast(dg.DagsterEvent, SimpleNamespace(step_failure_data=SimpleNamespace(error=error)))


def test_a_step_that_was_killed_says_what_to_do() -> None:
    error = SerializableErrorInfo("dagster...ChildProcessCrashException\n", [], "ChildProcessCrashException")
    assert "Fix: run again" in cause_of_failure(failure_of(error))


def test_a_failed_step_says_what_the_code_inside_raised() -> None:
    @dg.op
    def read() -> None:
        try:
            raise FileNotFoundError("pump.md is gone")
        except FileNotFoundError as error:
            raise RuntimeError("cannot go on") from error

    @dg.job
    def job() -> None:
        read()

    (event,) = [each for each in job.execute_in_process(raise_on_error=False).all_events if each.is_step_failure]
    assert cause_of_failure(event) == "FileNotFoundError: pump.md is gone"


def test_a_failure_without_an_error_has_no_cause() -> None:
    assert cause_of_failure(failure_of(None)) == ""
