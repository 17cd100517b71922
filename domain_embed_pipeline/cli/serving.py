"""Commands about what is live: search, status, models, rollback, serve."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from domain_embed_pipeline.cli.common import AsJson, open_workspace, write, write_json


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many chunks.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Search what is live, with the model and the retrieval mode that the live collection names."""
    with open_workspace().retriever() as retriever:
        hits = retriever.search(query, k)
    if as_json:
        write_json(hits, indent=None)
        return
    for rank, hit in enumerate(hits, start=1):
        typer.secho(f"{rank}. {hit.title or hit.source}", bold=True, nl=False)
        write(f"  ({hit.score:.3f}, {hit.source})")
        write(f"   {' '.join(hit.text.split())[:240]}")


def status(as_json: AsJson = False) -> None:
    """What is live: model version, its Recall@k, parents, collection, age, and how far the corpus has drifted."""
    from domain_embed_pipeline.status import read_status

    state = read_status(open_workspace())
    if as_json:
        write_json(state)
        return
    for line in state.lines():
        write(line)


def models(as_json: AsJson = False) -> None:
    """All model versions, oldest first, with parents, dev figures, and verdict and Recall@5 on test."""
    versions = open_workspace().registry.versions()
    if as_json:
        rows = [dataclasses.asdict(version) | {"history": len(version.history)} for version in versions]
        write_json(rows)
        return
    for version in versions:
        figures = ", ".join(f"dev {name} {value:.3f}" for name, value in version.dev_metrics.items())
        if version.judgement is not None:
            figures += f", {version.judgement.verdict} on test ({version.judgement.dense.get('recall_at_5', 0.0):.3f})"
        write(
            f"{version.model_version}  {version.kind}  from {version.parent_model_version or '-'}  "
            f"{version.created_at}  {figures}"
        )


def rollback(
    to: Annotated[str | None, typer.Argument(help="Model version or collection; the previous one by default.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "rolled back from the command line",
) -> None:
    """Point the alias back at an earlier collection, in one call."""
    from domain_embed_pipeline.serving.going_back import go_back

    workspace = open_workspace()
    alias = workspace.settings.serving_alias
    with workspace.open_store() as client:
        swap = go_back(client, alias, to, reason=reason, lineage=workspace.lineage, lock_folder=workspace.locks)
    write(f"{alias} -> {swap.collection} ({swap.reason})")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """HTTP service over the alias: /search, /health, /metrics and an OpenAI-compatible /v1/embeddings.

    DOMAIN_EMBED_API_KEYS (separated by commas) closes it to everybody else. A swap is noticed without a restart.
    """
    from domain_embed_pipeline.serving.service import run_service
    from domain_embed_pipeline.serving.service_settings import ServiceSettings

    workspace = open_workspace()
    keys = tuple(key.get_secret_value() for key in workspace.settings.service_keys)
    with workspace.retriever(load_in_background=True) as retriever:
        run_service(retriever, ServiceSettings(api_keys=keys), host=host, port=port)
