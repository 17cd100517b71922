"""Why a step failed, in words for whoever has to mend it; the terminal and the notices say the same.

What belongs here: reading Dagster's account of a failure. What does not: whom to tell (`run_sensors`), following a run
(`execution`).
"""

import dagster as dg


def cause_of_failure(event: dg.DagsterEvent) -> str:
    """The innermost message of a step failure, which is what the library raised."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is not None and error.cls_name == "ChildProcessCrashException":
        return (
            "The step's process was ended from outside; mostly the system's memory had run out. Fix: run again, what "
            "is stored is found; close other programs, or lower mini_batch_size and max_length."
        )
    return error.message.strip() if error is not None else ""
