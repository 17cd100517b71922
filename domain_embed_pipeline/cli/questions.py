"""`domain-embed questions ...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain_embed_pipeline.cli.common import AsJson, open_workspace, write, write_json

if TYPE_CHECKING:
    from domain_embed_pipeline.questions.imports import ImportSummary


def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines: chunk_id or text, and one key per style.", exists=True)],
    generator: Annotated[str, typer.Option(help="Who wrote the questions.")] = "imported",
    as_json: AsJson = False,
) -> None:
    """Put questions that you have already into the ledger, so that nobody is asked (or paid) for them.

    Each line names a chunk by `chunk_id` (the corpus's own `_id`, or ours) or by its `text`; every other key is a
    style whose value is a question or a list of them. A `chunk_id` that is a document's path names the document, and
    each question goes to its nearest chunk. Importing a file twice changes nothing. Exit code 1 when no line names
    anything in the corpus.
    """
    from domain_embed_pipeline.questions.imports import import_questions

    workspace = open_workspace()
    with workspace.open_ledger() as ledger:
        summary = import_questions(str(file), corpus=workspace.load_corpus(), ledger=ledger, generator=generator)
    if as_json:
        write_json(summary, indent=None)
    else:
        _print_import(file, summary)
    if not summary.matched_lines:
        raise typer.Exit(1)


def _print_import(file: Path, summary: ImportSummary) -> None:
    write(
        f"{file}: {summary.questions} questions for {summary.chunks} chunks, {summary.added} of them new; "
        f"{len(summary.unmatched)} lines name no chunk, {len(summary.bad)} lines are unusable."
    )
    for problem in (*summary.unmatched, *summary.bad)[:10]:
        typer.secho(f"  line {problem.line_number}: {problem.detail}", err=True, fg="yellow")
    if not summary.matched_lines:
        fix = "Name chunks as the corpus at DOMAIN_EMBED_CORPUS_PATH does: by _id, by text, or by document path."
        typer.secho(f"  Nothing was imported. Fix: {fix}", err=True, fg="red")


def estimate_(as_json: AsJson = False) -> None:
    """Calls, tokens and dollars for the chunks that the ledger has no answer for, before anything is spent."""
    from domain_embed_pipeline.questions.estimate import estimate
    from domain_embed_pipeline.questions.settings import QuestionSettings

    workspace = open_workspace()
    with workspace.open_ledger() as ledger, workspace.messages_client() as client:
        result = estimate(workspace.load_corpus().chunks, QuestionSettings(), ledger, client=client)
    if as_json:
        write_json(result)
        return
    write(f"{result.calls} calls to {result.model} for {result.chunks} chunks ({result.answered} are answered already)")
    write(f"{result.input_tokens:,} tokens in, {result.output_tokens:,} out, about {result.questions} questions")
    for name in ("direct", "direct_cached", "batch", "batch_cached"):
        write(f"  {name.replace('_', ', '):<15} ${getattr(result, f'{name}_usd'):.4f}")
    write(f"A run would ask by {result.planned_mode} for ${result.planned_usd:.4f}; prices of {result.prices_as_of}.")
    write(f"The ceiling of a run is ${result.max_cost_usd:.2f}.")
