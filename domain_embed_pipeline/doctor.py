"""`domain-embed doctor`: whether this machine and these settings can run the pipeline, and how to mend what cannot."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.workspace import Workspace

FREE_GB_NEEDED = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    level: Literal["ok", "note", "problem"]
    message: str
    fix: str = ""


class _Deployment(Workspace):
    """The deployment, whose corpus is read once for all who look at it."""

    @functools.cached_property
    def corpus(self) -> Corpus:
        """Read from the documents at the first look."""
        return self.load_corpus()


def examine(workspace: Workspace) -> list[Finding]:
    """Look at everything a run needs; nothing is kept and nothing is paid for."""
    examinations: tuple[tuple[str, Callable[[_Deployment], Finding]], ...] = (
        ("python", _python),
        ("corpus", _corpus),
        ("queries", _queries),
        ("pairs", _pairs),
        ("base model", _base_model),
        ("LLM", _llm),
        ("ledger", _ledger),
        ("GPU", _gpu),
        ("Qdrant", _qdrant),
        ("artifacts", _artifacts),
        ("disk", _disk),
        ("dagster", _dagster),
    )
    deployment = _Deployment(workspace.settings)
    return [_examined(subject, look, deployment) for subject, look in examinations]


def _examined(subject: str, look: Callable[[_Deployment], Finding], workspace: _Deployment) -> Finding:
    try:
        return look(workspace)
    except DomainEmbedError as error:
        return Finding(subject, "problem", error.message, error.fix)
    except OSError as error:
        return Finding(subject, "problem", f"{type(error).__name__}: {error}", "Check the path and its permissions.")


def _python(workspace: _Deployment) -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _corpus(workspace: _Deployment) -> Finding:
    corpus = workspace.corpus
    message = f"{len(corpus.documents)} documents, {len(corpus.chunks)} chunks in {workspace.settings.corpus_path}"
    if corpus.quarantine:
        first = corpus.quarantine[0]
        message += f"; {len(corpus.quarantine)} files in quarantine, such as {first.document_id} ({first.reason})"
    return Finding("corpus", "note" if corpus.quarantine else "ok", message)


def _queries(workspace: _Deployment) -> Finding:
    path = workspace.settings.queries_path
    if path is None:
        return Finding(
            "queries",
            "note",
            "no queries of your own: test queries will be generated from held-out documents",
            "For a verdict about real use, set DOMAIN_EMBED_QUERIES_PATH to a BEIR folder of 100 or more queries.",
        )
    from domain_embed_pipeline.pairs.evaluation_sets import load_user_evaluation_set

    queries = load_user_evaluation_set(path, workspace.corpus)
    counts = f"{len(queries.queries_of('dev'))} dev, {len(queries.queries_of('test'))} test"
    return Finding("queries", "ok", f"{counts} queries in {path}, {len(queries.lost_queries)} lost")


def _pairs(workspace: _Deployment) -> Finding:
    settings = workspace.settings
    given = settings.user_pairs_path or settings.queries_path
    pairs = workspace.load_user_pairs(workspace.corpus) if given else None
    if pairs is None:
        return Finding("pairs", "ok", "none of your own: no click log, no qrels/train.tsv beside the queries")
    message = f"{len(pairs.pairs)} of your own to train on"
    if pairs.bad_rows:
        first = pairs.bad_rows[0]
        message += f"; {len(pairs.bad_rows)} rows are unusable, such as row {first.row} ({first.reason})"
    return Finding("pairs", "note" if pairs.bad_rows else "ok", message)


def _base_model(workspace: _Deployment) -> Finding:
    from domain_embed_pipeline.encoding.base_models import resolve_base_model

    base = resolve_base_model(workspace.settings.base_model)
    return Finding("base model", "ok", f"{base.name} in {base.folder}")


def _llm(workspace: _Deployment) -> Finding:
    settings = workspace.settings
    if not settings.can_ask_llm:
        return Finding(
            "LLM",
            "note",
            "no key: recorded questions, pairs of your own, headings and neighbouring sentences carry the run",
            "Set ANTHROPIC_API_KEY (or ANTHROPIC_BASE_URL of a server of your own).",
        )
    return Finding("LLM", "ok", f"{'key is set' if settings.anthropic_api_key else 'no key'}, "
                   f"server {settings.anthropic_base_url or 'of Anthropic'}")  # fmt: skip


def _ledger(workspace: _Deployment) -> Finding:
    with workspace.open_ledger():
        pass
    scheme = workspace.settings.resolved_ledger_url.split(":", 1)[0]
    return Finding("ledger", "ok", f"{scheme}, opens")


def _gpu(workspace: _Deployment) -> Finding:
    from domain_embed_pipeline.encoding.hardware import choose_device, choose_dtype

    device = choose_device()
    dtype = choose_dtype(device)
    if device == "cpu":
        return Finding("GPU", "note", f"none; {os.cpu_count()} CPU cores in {dtype}")
    import torch

    return Finding("GPU", "ok", f"{torch.cuda.get_device_name()} in {dtype}")


def _qdrant(workspace: _Deployment) -> Finding:
    url = workspace.settings.qdrant_url
    if url is None and not Path(workspace.settings.qdrant_path).exists():
        return Finding("Qdrant", "ok", f"embedded store, to be made in {workspace.settings.qdrant_path}")
    with workspace.open_store() as client:
        count = len(client.get_collections().collections)
    return Finding("Qdrant", "ok", f"{url or workspace.settings.qdrant_path}, {count} collections")


def _artifacts(workspace: _Deployment) -> Finding:
    root = workspace.root
    if not root.is_remote:
        return Finding("artifacts", "ok", f"folder {root.address}")
    if str(root).startswith("memory:"):
        fix = "Set DOMAIN_EMBED_ARTIFACTS_PATH to a folder or a bucket."
        return Finding("artifacts", "problem", f"{root} is this process's memory, which no step would find again", fix)
    try:
        (root / ".doctor").write_text("written to see whether it can be")
        (root / ".doctor").delete()
    except DomainEmbedError:
        raise
    except Exception as error:
        return Finding(
            "artifacts",
            "problem",
            f"{root} cannot be written: {type(error).__name__}: {error}",
            "Check that the bucket is there, and the credentials that its own tools use.",
        )
    if not workspace.unshared:
        return Finding("artifacts", "ok", f"{root}; vectors and checkpoints in {workspace.local}")
    return Finding(
        "artifacts",
        "note",
        f"{root}; on this machine alone, in {workspace.local}: {' and '.join(workspace.unshared)}",
        "Set DOMAIN_EMBED_LEDGER_URL and DOMAIN_EMBED_QDRANT_URL before a second machine takes part.",
    )


def _disk(workspace: _Deployment) -> Finding:
    folder = workspace.local
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < FREE_GB_NEEDED:
        return Finding(
            "disk",
            "problem",
            f"{free:.1f} GB free at {folder}; a training with checkpoints takes up to {FREE_GB_NEEDED:g} GB",
            "Free space, or set DOMAIN_EMBED_LOCAL_PATH to a folder on a larger disk.",
        )
    return Finding("disk", "ok", f"{free:.0f} GB free at {folder.resolve()}")


def _dagster(workspace: _Deployment) -> Finding:
    home = os.environ.get("DAGSTER_HOME")
    if home is None:
        return Finding("dagster", "ok", "DAGSTER_HOME is not set; .dagster_home in this folder is used")
    if not os.path.isabs(home):  # noqa: PTH117 - what Dagster itself asks
        return Finding("dagster", "problem", f"DAGSTER_HOME={home} is relative", "Set it to an absolute path.")
    return Finding("dagster", "ok", f"DAGSTER_HOME={home}")
