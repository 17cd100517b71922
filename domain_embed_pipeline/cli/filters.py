"""`domain-embed filters`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain_embed_pipeline.cli.common import AsJson, BaseModel, write_json
from domain_embed_pipeline.settings import DeploymentSettings

if TYPE_CHECKING:
    from domain_embed_pipeline.bench.ablation import AblationResult, VariantResult


def filters(
    folder: Annotated[
        Path, typer.Argument(help="BEIR layout: corpus.jsonl, queries.jsonl, qrels/dev.tsv and test.tsv.")
    ],
    questions: Annotated[
        Path | None, typer.Option(help="Recorded questions: JSON lines with chunk_id and styles.")
    ] = None,
    train_qrels: Annotated[bool, typer.Option(help="Train on qrels/train.tsv too.")] = False,
    train: Annotated[bool, typer.Option(help="Train and measure what differs; minutes to hours on a CPU.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="A quick look: so many dev queries, four times the chunks.")
    ] = None,
    base_model: BaseModel = None,
    seed: Annotated[int, typer.Option(help="Of every training.")] = 42,
    artifacts: Annotated[
        Path | None, typer.Option(help="Keep models here; what is there is not trained again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What each filter of training pairs drops on one set and, with --train, what that does to dev Recall@5.

    Each row is one choice of filters; intervals are paired with the default choice. Test queries are not looked at.
    """
    from domain_embed_pipeline.bench.ablation import AblationSettings, run_ablation
    from domain_embed_pipeline.bench.records import BenchSettings

    bench = BenchSettings(
        folder=str(folder),
        recipes=(),
        base_model=base_model or DeploymentSettings().base_model,
        questions=str(questions) if questions else None,
        sample=sample,
        train_qrels=train_qrels,
        seed=seed,
        artifacts=str(artifacts) if artifacts else None,
    )
    result = run_ablation(bench, AblationSettings(train=train), tell=lambda line: typer.echo(line, err=True))
    if as_json:
        write_json(result)
    else:
        _print(result)


def _print(result: AblationResult) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result.chunk_count} chunks, {result.dev_query_count} dev queries", title_justify="left")
    for name in ("filters", "pairs", "more", "fewer", "dev Recall@5", "difference, 95 % interval"):
        table.add_column(name, justify="left" if name == "filters" else "right")
    for row in result.variants:
        recall = "" if row.recall_at_5 is None else f"{row.recall_at_5:.4f}"
        table.add_row(
            row.name, str(row.pair_count), str(row.more_pairs), str(row.fewer_pairs), recall, _difference(row)
        )
    console = Console(width=120)
    console.print(table)
    dropped = ", ".join(f"{drop.count} {drop.reason}" for drop in result.drops) or "nothing"
    console.print(f"Dropped by default: {dropped}.", highlight=False)


def _difference(row: VariantResult) -> str:
    if row.difference is None:
        return ""
    found = row.difference
    return f"{found.difference:+.4f} \\[{found.interval_low:+.4f}, {found.interval_high:+.4f}]"
