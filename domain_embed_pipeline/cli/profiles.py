"""Command that shows a profile."""

from __future__ import annotations

from typing import Annotated

import typer

from domain_embed_pipeline.cli.common import write


def profile(name: Annotated[str, typer.Argument(help="demo, cpu, gpu or production.")]) -> None:
    """Print the run config of a profile, to paste into the launchpad or to keep beside your own changes."""
    import yaml

    from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of

    if name not in PROFILES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(PROFILES)}.", param_hint="NAME")
    write(yaml.safe_dump(run_config_of(name), sort_keys=False).rstrip())
