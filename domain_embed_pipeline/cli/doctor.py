"""`domain-embed doctor`."""

from __future__ import annotations

import typer

from domain_embed_pipeline.cli.common import open_workspace, write


def doctor() -> None:
    """Check environment, corpus, base model, key, GPU, Qdrant and disk, and say how to mend what is wrong."""
    from domain_embed_pipeline.doctor import examine

    findings = examine(open_workspace())
    for finding in findings:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.level]
        typer.secho(f"{finding.level:8}", fg=colour, nl=False)
        write(f"{finding.subject}: {finding.message}")
        if finding.fix:
            write(f"        Fix: {finding.fix}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
