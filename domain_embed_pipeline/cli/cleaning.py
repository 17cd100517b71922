"""Command that ends what died."""

from __future__ import annotations

from domain_embed_pipeline.cli.common import dagster_home, write


def clean_up() -> None:
    """Mark runs whose process is gone as failed and free their pool slots, which would block the next run."""
    from domain_embed_pipeline.defs.execution import end_dead_runs, open_instance

    with open_instance(dagster_home()) as instance:
        ended = end_dead_runs(instance)
    for run_id in ended:
        write(f"{run_id} is marked as failed; re-execute it from failure in the UI.")
    if not ended:
        write("No run was left behind.")
