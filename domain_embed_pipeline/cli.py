"""`domain-embed`: a thin front door to the library and the jobs.

Exit codes: 0 done; 1 something failed; 2 wrong use or settings; 3 to 10 by kind of error (`errors.py`); 20 the run
ended well and the candidate was not shown to be better, so nothing was swapped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from domain_embed_pipeline import __version__
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.settings import DeploymentSettings

NOT_BETTER = 20

app = typer.Typer(
    help="A folder of domain documents into a fine-tuned embedding model and the vector index that serves it.\n\n"
    "Where things live and whom to call comes from the environment (DOMAIN_EMBED_*, ANTHROPIC_API_KEY) or `.env`; "
    "`domain-embed doctor` shows what is set and what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
questions_app = typer.Typer(help="Questions that stand behind the training pairs.", no_args_is_help=True)
app.add_typer(questions_app, name="questions")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


def _write(text: str = "") -> None:
    typer.echo(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        _write(__version__)
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


@app.command()
def run(
    profile: Annotated[str, typer.Option(help="Named set of knobs: demo, cpu, gpu or production.")] = "cpu",
    job: Annotated[str, typer.Option(help="Job to run.")] = "retrain_and_promote_job",
    override_reason: Annotated[
        str | None, typer.Option(help="Go live without a passing verdict (promote_job); recorded for ever.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars, no result screen.")] = False,
) -> None:
    """Documents to a served index: everything that is not up to date is made, judged and, if better, served.

    Work that is stored is not done again; an interrupted run goes on where it was. Exit code 20 means that the
    candidate was not shown to be better and the alias stays where it is.
    """
    from domain_embed_pipeline.console import RunScreen, print_result
    from domain_embed_pipeline.defs.execution import end_dead_runs, open_instance, run_job
    from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of

    if profile not in PROFILES:
        raise typer.BadParameter(f"{profile!r} is not one of {', '.join(PROFILES)}.", param_hint="--profile")
    config = run_config_of(profile) if job == "retrain_and_promote_job" else {}
    if override_reason is not None:
        config.setdefault("ops", {})["serving_alias"] = {"config": {"override_reason": override_reason}}
    with open_instance(_dagster_home()) as instance:
        end_dead_runs(instance)
        with RunScreen(enabled=not quiet) as screen:
            outcome = run_job(
                instance, job, run_config=config, tags={"domain_embed/profile": profile}, on_event=screen.show
            )
    if not outcome.succeeded and outcome.failed_checks != ("candidate_is_better",):
        for failure in outcome.failures:
            typer.secho(f"{failure.step}: {failure.message}", err=True, fg="red")
        raise typer.Exit(1)
    if not quiet:
        print_result(_workspace(), home=_dagster_home())
    if not outcome.succeeded:
        raise typer.Exit(NOT_BETTER)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many chunks.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Search what is live, with the model and the retrieval mode that the live collection names."""
    with _workspace().retriever() as retriever:
        hits = retriever.search(query, k)
    if as_json:
        _write(json.dumps([dataclasses.asdict(hit) for hit in hits], ensure_ascii=False))
        return
    for rank, hit in enumerate(hits, start=1):
        typer.secho(f"{rank}. {hit.title or hit.source}", bold=True, nl=False)
        _write(f"  ({hit.score:.3f}, {hit.source})")
        _write(f"   {' '.join(hit.text.split())[:240]}")


@app.command()
def status(as_json: AsJson = False) -> None:
    """What is live: model version, its Recall@k, parents, collection, age, and how far the corpus has drifted."""
    from domain_embed_pipeline.status import read_status

    state = read_status(_workspace())
    if as_json:
        _write(json.dumps(dataclasses.asdict(state), ensure_ascii=False, indent=1))
        return
    for line in state.lines():
        _write(line)


@app.command()
def models(as_json: AsJson = False) -> None:
    """All model versions, oldest first, with parents and dev figures."""
    versions = _workspace().registry.versions()
    if as_json:
        rows = [dataclasses.asdict(version) | {"history": len(version.history)} for version in versions]
        _write(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for version in versions:
        figures = ", ".join(f"dev {name} {value:.3f}" for name, value in version.dev_metrics.items())
        _write(
            f"{version.model_version}  {version.kind}  from {version.parent_model_version or '-'}  "
            f"{version.created_at}  {figures}"
        )


@app.command()
def rollback(
    to: Annotated[str | None, typer.Argument(help="Model version or collection; the previous one by default.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "rolled back from the command line",
) -> None:
    """Point the alias back at an earlier collection, in one call."""
    from domain_embed_pipeline.serving.alias import rollback as roll_back

    workspace = _workspace()
    alias = workspace.settings.serving_alias
    with workspace.open_store() as client:
        swap = roll_back(client, alias, to, lock_folder=workspace.locks)
    if swap.swapped:
        workspace.lineage.record(
            "rollback",
            alias=alias,
            model_version=swap.model_version,
            collection=swap.collection,
            previous_collection=swap.previous_collection,
            reason=reason,
        )
    _write(f"{alias} -> {swap.collection} ({swap.reason})")


@app.command()
def doctor() -> None:
    """Check environment, corpus, base model, key, GPU, Qdrant and disk, and say how to mend what is wrong."""
    from domain_embed_pipeline.doctor import examine

    findings = examine(_workspace())
    for finding in findings:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.level]
        typer.secho(f"{finding.level:8}", fg=colour, nl=False)
        _write(f"{finding.subject}: {finding.message}")
        if finding.fix:
            _write(f"        Fix: {finding.fix}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """HTTP service over the alias: /search, /health, /metrics and an OpenAI-compatible /v1/embeddings.

    DOMAIN_EMBED_API_KEYS (separated by commas) closes it to everybody else. A swap is noticed without a restart.
    """
    from domain_embed_pipeline.serving.service import ServiceSettings, run_service

    workspace = _workspace()
    keys = tuple(key.get_secret_value() for key in workspace.settings.service_keys)
    with workspace.retriever(load_in_background=True) as retriever:
        run_service(retriever, ServiceSettings(api_keys=keys), host=host, port=port)


@app.command()
def bench(
    folder: Annotated[Path, typer.Argument(help="BEIR layout: corpus.jsonl, queries.jsonl, qrels/test.tsv.")],
    questions: Annotated[
        Path | None, typer.Option(help="Recorded questions: JSON lines with chunk_id and styles such as plain.")
    ] = None,
    recipes: Annotated[
        str, typer.Option(help="Of tutorial, default, default-plain, base, bm25; separated by commas.")
    ] = "tutorial,default,base,bm25",
    sample: Annotated[
        int | None, typer.Option(min=1, help="A quick look: so many queries, four times the chunks.")
    ] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub name or folder; the deployment's by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of every recipe.")] = 42,
    artifacts: Annotated[
        Path | None, typer.Option(help="Keep models and logs here. What is there is not done again, nor timed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recipes side by side on one set: Recall@k with paired intervals, seconds, memory, dollars. Nobody is asked.

    `tutorial` is the best-known public recipe by hand, `default` this pipeline. Each runs in a process of its own, one
    after the other. Exit code 1 when a recipe failed.
    """
    from domain_embed_pipeline.bench.records import BenchSettings
    from domain_embed_pipeline.bench.running import run_bench
    from domain_embed_pipeline.bench.table import print_bench

    settings = BenchSettings(
        folder=str(folder),
        recipes=tuple(filter(None, (name.strip() for name in recipes.split(",")))),
        base_model=base_model or DeploymentSettings().base_model,
        questions=str(questions) if questions else None,
        sample=sample,
        seed=seed,
        artifacts=str(artifacts) if artifacts else None,
    )
    result = run_bench(settings, tell=lambda line: typer.echo(line, err=True))
    if as_json:
        _write(json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=1))
    else:
        print_bench(result)
    if result.failed:
        raise typer.Exit(1)


@questions_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines: chunk_id or text, and one key per style.", exists=True)],
    generator: Annotated[str, typer.Option(help="Who wrote the questions.")] = "imported",
    as_json: AsJson = False,
) -> None:
    """Put questions that you have already into the ledger, so that nobody is asked (or paid) for them.

    Each line names a chunk by `chunk_id` (the corpus's own `_id`, or ours) or by its `text`; every other key is a
    style whose value is a question or a list of them. Importing a file twice changes nothing.
    """
    from domain_embed_pipeline.questions.imports import import_questions

    workspace = _workspace()
    with workspace.open_ledger() as ledger:
        summary = import_questions(str(file), corpus=workspace.load_corpus(), ledger=ledger, generator=generator)
    if as_json:
        _write(json.dumps(dataclasses.asdict(summary), ensure_ascii=False))
        return
    _write(
        f"{file}: {summary.questions} questions for {summary.chunks} chunks, {summary.added} of them new; "
        f"{len(summary.unmatched)} lines name no chunk, {len(summary.bad)} lines are unusable."
    )
    for problem in (*summary.unmatched, *summary.bad)[:10]:
        typer.secho(f"  line {problem.line_number}: {problem.detail}", err=True, fg="yellow")


@questions_app.command("estimate")
def estimate_(as_json: AsJson = False) -> None:
    """Calls, tokens and dollars for the chunks that the ledger has no answer for, before anything is spent."""
    from domain_embed_pipeline.questions.estimate import estimate
    from domain_embed_pipeline.questions.settings import QuestionSettings

    workspace = _workspace()
    with workspace.open_ledger() as ledger, workspace.messages_client() as client:
        result = estimate(workspace.load_corpus().chunks, QuestionSettings(), ledger, client=client)
    if as_json:
        _write(json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=1))
        return
    _write(
        f"{result.calls} calls to {result.model} for {result.chunks} chunks ({result.answered} are answered already)"
    )
    _write(f"{result.input_tokens:,} tokens in, {result.output_tokens:,} out, about {result.questions} questions")
    for name in ("direct", "direct_cached", "batch", "batch_cached"):
        _write(f"  {name.replace('_', ', '):<15} ${getattr(result, f'{name}_usd'):.4f}")
    _write(f"A run would ask by {result.planned_mode} for ${result.planned_usd:.4f}; prices of {result.prices_as_of}.")
    _write(f"The ceiling of a run is ${result.max_cost_usd:.2f}.")


def _workspace() -> Any:
    from domain_embed_pipeline.workspace import Workspace

    return Workspace(DeploymentSettings())


def _dagster_home() -> Path:
    return Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").resolve()


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
