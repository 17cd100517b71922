"""`domain-embed bench`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from domain_embed_pipeline.cli.common import AsJson, write
from domain_embed_pipeline.settings import DeploymentSettings


def bench(
    folder: Annotated[Path, typer.Argument(help="BEIR layout: corpus.jsonl, queries.jsonl, qrels/test.tsv.")],
    questions: Annotated[
        Path | None, typer.Option(help="Recorded questions: JSON lines with chunk_id and styles such as plain.")
    ] = None,
    recipes: Annotated[
        str, typer.Option(help="Of tutorial, default, default-plain, base, base-expanded, bm25; separated by commas.")
    ] = "tutorial,default,base,bm25",
    sample: Annotated[
        int | None, typer.Option(min=1, help="A quick look: so many queries, four times the chunks.")
    ] = None,
    train_qrels: Annotated[
        bool | None,
        typer.Option(
            help="Whether ours trains on qrels/train.tsv; by default as the tutorial: without plain questions."
        ),
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
        train_qrels=train_qrels,
        seed=seed,
        artifacts=str(artifacts) if artifacts else None,
    )
    result = run_bench(settings, tell=lambda line: typer.echo(line, err=True))
    if as_json:
        write(json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=1))
    else:
        print_bench(result)
    if result.failed:
        raise typer.Exit(1)
