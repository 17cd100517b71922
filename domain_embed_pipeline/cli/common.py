"""What every command shares: the deployment, where Dagster's history lies, how a command writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from domain_embed_pipeline.settings import DeploymentSettings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


def write(text: str = "") -> None:
    """Print a line to standard output."""
    typer.echo(text)


def open_workspace() -> Any:
    """The stores of the deployment that the environment names."""
    from domain_embed_pipeline.workspace import Workspace

    return Workspace(DeploymentSettings())


def dagster_home() -> Path:
    """Folder of the Dagster instance: DAGSTER_HOME, or `.dagster_home` here."""
    return Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").resolve()
