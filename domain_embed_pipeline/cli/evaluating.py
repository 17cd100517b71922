"""`domain-embed evaluate`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from domain_embed_pipeline.cli.common import AsJson, open_workspace, write, write_json

if TYPE_CHECKING:
    from domain_embed_pipeline.alternatives.standalone import StandaloneResult


class SplitChoice(StrEnum):
    """Which judgments are used."""

    test = "test"
    dev = "dev"


class ModeChoice(StrEnum):
    """How the index is asked."""

    dense = "dense"
    auto = "auto"


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Model version, folder, hub name, URL#MODEL (OpenAI-compatible endpoint) or bm25.")
    ],
    on: Annotated[str, typer.Option(help="Folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels/test.tsv.")],
    split: Annotated[SplitChoice, typer.Option(help="Which qrels are used.")] = SplitChoice.test,
    mode: Annotated[
        ModeChoice, typer.Option(help="dense: vectors alone; auto: with BM25 if the dev queries say so.")
    ] = ModeChoice.dense,
    price: Annotated[
        float | None, typer.Option(min=0, help="Dollars per million tokens of an endpoint; list price by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score any model outside a run: Recall@k, hit@k, MRR@10 and nDCG@10 with intervals, exact search, nothing trained.

    An endpoint's key comes from DOMAIN_EMBED_EMBEDDINGS_API_KEY. Vectors are cached under the artifacts folder, so
    that asking twice costs once.
    """
    from domain_embed_pipeline.alternatives.standalone import StandaloneSettings, evaluate_named_model

    workspace = open_workspace()
    settings = StandaloneSettings(
        split=split.value, mode=mode.value, api_key=workspace.settings.resolved_embeddings_api_key, price=price
    )
    result = evaluate_named_model(model, on, workspace.registry, settings=settings)
    if as_json:
        write_json(result)
    else:
        _print(result)


def _print(result: StandaloneResult) -> None:
    from domain_embed_pipeline.evaluation.words import metric_name, mode_name

    write(f"{result.model} on {result.on} ({result.split}: {result.query_count} queries, {result.chunk_count} chunks)")
    write(f"mode: {mode_name(result.mode)}")
    dense = {row.metric: row for row in result.dense_metrics} if result.mode.kind == "hybrid" else {}
    for row in result.metrics:
        line = f"  {metric_name(row.metric):<10} {row.mean:.3f}  [{row.interval_low:.3f}, {row.interval_high:.3f}]"
        write(line + (f"   by vectors alone {dense[row.metric].mean:.3f}" if dense else ""))
    if result.latency_ms:
        write(f"  {result.latency_ms:.1f} ms a query, text to vector")
    if result.tokens_sent:
        write(f"  {result.tokens_sent:,} tokens sent, ${result.dollars:.4f}")
