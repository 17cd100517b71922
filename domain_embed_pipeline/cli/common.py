"""What every command shares: the deployment, where Dagster's history lies, how a command writes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from domain_embed_pipeline.settings import DeploymentSettings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]
BaseModel = Annotated[str | None, typer.Option(help="Hub name or folder; the deployment's by default.")]


def write(text: str = "") -> None:
    """Print a line to standard output."""
    typer.echo(text)


def write_json(value: Any, *, indent: int | None = 1) -> None:
    """Print a value as one JSON document; records in it become objects."""
    write(json.dumps(value, default=dataclasses.asdict, ensure_ascii=False, indent=indent))


def open_workspace() -> Any:
    """The stores of the deployment that the environment names."""
    from domain_embed_pipeline.workspace import Workspace

    return Workspace(DeploymentSettings())


def dagster_home() -> Path:
    """Folder of the Dagster instance: DAGSTER_HOME, or `.dagster_home` here."""
    return Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").resolve()
