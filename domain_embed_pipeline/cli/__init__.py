"""`domain-embed`: a thin front door to the library and the jobs. One file a group of commands; this one joins them.

Exit codes: 0 done; 1 something failed; 2 wrong use or settings; 3 to 10 by kind of error (`errors.py`); 20 the run
ended well and the candidate was not shown to be better, so nothing was swapped; 130 the run was interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from domain_embed_pipeline import __version__
from domain_embed_pipeline.cli import (
    bench,
    cleaning,
    doctor,
    evaluating,
    filters,
    lineage,
    profiles,
    questions,
    running,
    serving,
)
from domain_embed_pipeline.errors import DomainEmbedError

app = typer.Typer(
    help="A folder of domain documents into a fine-tuned embedding model and the vector index that serves it.\n\n"
    "Where things live and whom to call comes from the environment (DOMAIN_EMBED_*, ANTHROPIC_API_KEY) or `.env`; "
    "`domain-embed doctor` shows what is set and what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
questions_app = typer.Typer(help="Questions that stand behind the training pairs.", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the library does.")] = False,
) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("domain_embed_pipeline").setLevel(logging.INFO if verbose else logging.WARNING)
    for handler in logging.getLogger().handlers:
        # Dagster sets the package's logger to INFO for its own log.
        handler.setLevel(logging.INFO if verbose else logging.WARNING)


app.command()(running.run)
app.command()(profiles.profile)
app.command("clean-up")(cleaning.clean_up)
app.command()(serving.search)
app.command()(serving.status)
app.command()(serving.models)
app.command()(serving.rollback)
app.command()(lineage.lineage)
app.command()(lineage.forget)
app.command()(lineage.push)
app.command()(doctor.doctor)
app.command()(serving.serve)
app.command()(bench.bench)
app.command()(filters.filters)
app.command()(evaluating.evaluate)
app.add_typer(questions_app, name="questions")
questions_app.command("import")(questions.import_)
questions_app.command("estimate")(questions.estimate_)


@contextlib.contextmanager
def _errors_as_lines() -> Iterator[None]:
    try:
        yield
    except DomainEmbedError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg="red")
        sys.exit(error.exit_code)


def main() -> None:
    """Entry point: errors of the family become one line and their exit code."""
    with _errors_as_lines():
        app()
