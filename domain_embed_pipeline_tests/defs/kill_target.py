"""One run of the retrain job in a process that may be killed: `python kill_target.py HOME CONFIG [PARENT_RUN]`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import dagster as dg

from domain_embed_pipeline.defs.execution import PID_TAG, end_dead_runs, open_instance


def main(home: str, config: str, parent: str | None = None) -> None:
    """Run the whole job, or what is left of it after `parent` as "Re-execute from failure" does."""
    job = dg.build_reconstructable_job(
        "domain_embed_pipeline.defs.execution", "job_named", reconstructable_args=("retrain_and_promote_job",)
    )
    with open_instance(Path(home)) as instance:
        end_dead_runs(instance)
        options = dg.ReexecutionOptions.from_failure(parent, instance) if parent else None
        result = dg.execute_job(
            job,
            instance=instance,
            run_config=json.loads(config),
            tags={PID_TAG: str(os.getpid())},
            raise_on_error=False,
            reexecution_options=options,
        )
        sys.exit(0 if result.success else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
