"""The stores of one deployment: the corpus is read where, and cut as, its last materialization was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from qdrant_client import models

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline_tests.serving.qdrant_double import running_double

FIELDS = "text=page_content&title=metadata.head&source=metadata.file"
PROSE = " ".join(f"Sentence {number} tells of topic {number}." for number in range(60))


def materialize_corpus(deployment: Deployment, **knobs: int) -> Corpus:
    """Materialize `corpus_chunks` alone, as the UI does, and read what it stored."""
    job = build_defs({"deployment": deployment}).resolve_implicit_global_asset_job_def()
    config = {"ops": {"corpus_chunks": {"config": knobs}}} if knobs else {}
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("corpus_chunks")], run_config=config)
    stored = deployment.workspace.stored(Corpus, "corpus_chunks")
    assert stored is not None
    return stored


@pytest.fixture
def deployment(tmp_path: Path, tiny_model: str) -> Deployment:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "long.md").write_text(f"# Long\n\n{PROSE}\n", encoding="utf-8")
    return Deployment(corpus_path=str(folder), artifacts_path=str(tmp_path / "artifacts"), base_model=tiny_model)


@pytest.fixture(params=["embedded", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: str) -> Iterator[Deployment]:
    """A deployment whose corpus is a collection that a team filled for itself, in its own vector store."""
    common = {"artifacts_path": str(tmp_path / "artifacts"), "base_model": tiny_model}
    if request.param == "embedded":
        yield Deployment(corpus_path=f"qdrant://rag?{FIELDS}", **common)
        return
    with running_double() as server:
        yield Deployment(corpus_path=f"qdrant://rag?{FIELDS}", qdrant_url=server.url, **common)


def fill(deployment: Deployment, texts: dict[int, str]) -> None:
    with deployment.workspace.open_store() as client:
        if not client.collection_exists("rag"):
            client.create_collection("rag", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
        points = [
            models.PointStruct(
                id=number,
                vector=[0.0, 1.0],
                payload={"page_content": text, "metadata": {"head": f"Part {number}", "file": f"{number}.pdf"}},
            )
            for number, text in texts.items()
        ]
        client.upsert("rag", points, wait=True)


def test_a_corpus_in_small_chunks_is_cut_the_same_when_it_is_read_again(deployment: Deployment) -> None:
    stored = materialize_corpus(deployment, max_tokens=40)
    workspace = deployment.workspace
    assert len(stored.chunks) > 5
    assert workspace.corpus_settings.max_tokens == 40
    assert workspace.load_corpus() == stored
    assert len(materialize_corpus(deployment).chunks) < len(stored.chunks)


def test_a_file_over_the_size_limit_of_the_last_run_is_no_drift(deployment: Deployment) -> None:
    large = Path(str(deployment.corpus_path)) / "large.md"
    large.write_text("# Large\n\n" + PROSE * 600, encoding="utf-8")
    assert large.stat().st_size > 1_000_000
    materialize_corpus(deployment, max_file_mb=1)
    drift = read_status(deployment.workspace).drift
    assert drift is not None
    assert (drift.added, drift.changed, drift.removed) == (0, 0, 0)


def test_a_collection_is_a_corpus_with_the_deployments_own_store(index: Deployment) -> None:
    fill(index, {1: "The first passage.", 2: "The second passage."})
    corpus = materialize_corpus(index)
    assert [(chunk.text, chunk.title, chunk.document_id, chunk.external_ids) for chunk in corpus.chunks] == [
        ("The first passage.", "Part 1", "1.pdf", ("1",)),
        ("The second passage.", "Part 2", "2.pdf", ("2",)),
    ]


def test_points_that_come_and_change_in_a_collection_are_drift(index: Deployment) -> None:
    fill(index, {1: "The first passage.", 2: "The second passage."})
    materialize_corpus(index)
    fill(index, {2: "The second passage, edited.", 3: "The third passage."})
    drift = read_status(index.workspace).drift
    assert drift is not None
    assert (drift.added, drift.changed, drift.removed) == (1, 1, 0)
