"""Commands about where things come from: lineage, forget, push."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain_embed_pipeline.cli.common import AsJson, open_workspace, write, write_json


def lineage(
    what: Annotated[str | None, typer.Argument(help="Model version or collection; what is live by default.")] = None,
    document: Annotated[
        str | None, typer.Option(help="A document: which collections serve it, which versions were trained on it?")
    ] = None,
    documents: Annotated[bool, typer.Option("--documents", help="List every document that is served.")] = False,
    as_json: AsJson = False,
) -> None:
    """Walk from the alias to collection, model, parents, pairs and documents, or from a document back.

    `domain-embed lineage --document guides/pacing.md` answers "which versions were trained on this document?".
    """
    from domain_embed_pipeline.provenance import trace, trace_document

    workspace = open_workspace()
    if document is not None:
        origin = trace_document(workspace, document)
        _show(origin, origin.lines(), as_json)
        return
    found = trace(workspace, what)
    nothing = [f"Nothing is live behind the alias {found.alias}.", "Start with: domain-embed run"]
    _show(found, found.lines(with_documents=documents) if found.versions else nothing, as_json)


def _show(record: Any, lines: list[str], as_json: bool) -> None:
    if as_json:
        write_json(record)
        return
    for line in lines:
        write(line)


def forget(
    document: Annotated[str, typer.Argument(help="Source path within the corpus, or an ending only one document has.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the list of erasures.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Let the document be read again; nothing is erased.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a document from tables, ledger, vectors and every collection, and keep it out of later runs.

    Your own file is not touched. The model versions that learned from the document are listed; they stay as they are,
    and the next `domain-embed run` trains without it.
    """
    from domain_embed_pipeline.forgetting import forget_document

    workspace = open_workspace()
    if lift:
        lifted = workspace.erasures.lift(document)
        write(f"{document} {'may be read again' if lifted else 'is not on the list of erased documents'}")
        raise typer.Exit(0 if lifted else 1)
    if not yes:
        from domain_embed_pipeline.provenance import trace_document

        origin = trace_document(workspace, document)
        for line in origin.lines():
            write(line)
        typer.confirm(f"Erase {origin.document_id} for good?", abort=True)
    forgotten = forget_document(workspace, document, reason=reason)
    _show(forgotten, forgotten.lines(), as_json)


def push(
    model_version: Annotated[str, typer.Argument(help="As `domain-embed models` lists it.")],
    repository: Annotated[str, typer.Argument(help="organisation/name on the model hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository readable for everybody.")] = False,
) -> None:
    """Publish a model version with its card on a model hub (HF_TOKEN, HF_ENDPOINT). Private unless told otherwise.

    The documents that it learned from are not named there.
    """
    from domain_embed_pipeline.registry.hub import push_version

    write(push_version(open_workspace().registry, model_version, repository, private=not public))
