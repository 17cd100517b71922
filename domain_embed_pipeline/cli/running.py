"""Commands that run jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from domain_embed_pipeline.cli.common import dagster_home, open_workspace
from domain_embed_pipeline.settings import DeploymentSettings

NOT_BETTER = 20
INTERRUPTED = 130
BATCH_WAIT_MINUTES = 25 * 60


def run(
    profile: Annotated[
        str | None, typer.Option(help="Named set of knobs: demo, cpu, gpu or production; else DOMAIN_EMBED_PROFILE.")
    ] = None,
    job: Annotated[str, typer.Option(help="Job to run.")] = "retrain_and_promote_job",
    config_file: Annotated[
        Path | None,
        typer.Option("--config", exists=True, dir_okay=False, help="YAML run config, laid over the profile's knobs."),
    ] = None,
    override_reason: Annotated[
        str | None, typer.Option(help="Go live without a passing verdict (promote_job); recorded for ever.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars, no result screen.")] = False,
) -> None:
    """Documents to a served index: everything that is not up to date is made, judged and, if better, served.

    Work that is stored is not done again; an interrupted run goes on where it was. Exit code 20 means that the
    candidate was not shown to be better and the alias stays where it is; 130 that the run was interrupted.
    """
    from domain_embed_pipeline.console import RunScreen, print_result
    from domain_embed_pipeline.defs.execution import end_dead_runs, open_instance, run_job

    profile = profile or DeploymentSettings().profile
    config = run_config(job, profile, config_file=config_file, override_reason=override_reason)
    with open_instance(dagster_home()) as instance:
        end_dead_runs(instance)
        with RunScreen(enabled=not quiet) as screen:
            outcome = run_job(
                instance, job, run_config=config, tags={"domain_embed/profile": profile}, on_event=screen.show
            )
    if outcome.interrupted:
        typer.secho("Interrupted. What is done is stored: the same command goes on from there.", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED)
    if not outcome.succeeded and outcome.failed_checks != ("candidate_is_better",):
        for failure in outcome.failures:
            typer.secho(f"{failure.step}: {failure.message}", err=True, fg="red")
        raise typer.Exit(1)
    if not quiet:
        print_result(open_workspace(), home=dagster_home())
    if not outcome.succeeded:
        raise typer.Exit(NOT_BETTER)


def run_config(
    job: str, profile: str, *, config_file: Path | None = None, override_reason: str | None = None
) -> dict[str, Any]:
    """What a run is configured with: the profile's knobs or the job's own, under the file's, under the reason.

    Raises:
        typer.BadParameter: If there is no such profile, or the file holds no mapping.
    """
    from domain_embed_pipeline.defs.execution import config_of_job
    from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of

    if profile not in PROFILES:
        raise typer.BadParameter(f"{profile!r} is not one of {', '.join(PROFILES)}.", param_hint="--profile")
    if job == "retrain_and_promote_job":
        # No sensor need be running here, so this process waits for its batches.
        waiting = _config_of("generated_questions", batch_wait_minutes=BATCH_WAIT_MINUTES)
        config = _laid_over(run_config_of(profile), waiting)
    else:
        config = config_of_job(job)
    if config_file is not None:
        config = _laid_over(config, _read_config(config_file))
    if override_reason is not None:
        config = _laid_over(config, _config_of("serving_alias", override_reason=override_reason))
    return config


def _config_of(asset: str, **knobs: Any) -> dict[str, Any]:
    return {"ops": {asset: {"config": knobs}}}


def _read_config(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{path} is not YAML: {error}", param_hint="--config") from error
    if not isinstance(config, dict):
        raise typer.BadParameter(f"{path} holds no mapping; begin with ops:", param_hint="--config")
    return config


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, key by key; where both have a value, the one above holds."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
