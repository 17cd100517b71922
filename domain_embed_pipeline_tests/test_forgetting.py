"""A document goes from everywhere but the weights, its lineage says what learned from it, and it stays away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.cli import app
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.encoding.vector_cache import text_key
from domain_embed_pipeline.errors import CorpusError
from domain_embed_pipeline.forgetting import Forgotten, forget_document
from domain_embed_pipeline.provenance import trace, trace_document
from domain_embed_pipeline.questions.ledger import RecordedQuestion
from domain_embed_pipeline.records import (
    Chunk,
    Corpus,
    Document,
    EvaluationQuery,
    EvaluationSet,
    HardNegative,
    RelevanceJudgment,
)
from domain_embed_pipeline.registry.learned import FILE_NAME, learned_from_pairs, write_learned
from domain_embed_pipeline.registry.storage import MANIFEST
from domain_embed_pipeline.serving.contents import documents_in
from domain_embed_pipeline.serving.metadata import collections_of
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline.training.negatives import HardNegatives
from domain_embed_pipeline_tests.places import empty_place
from domain_embed_pipeline_tests.registry.test_learned import pair
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.deployed import NEW, OLD, register
from domain_embed_pipeline_tests.serving.scenario import ALIAS, WordEncoder, chunk_of, plan_of

OWN = chunk_of("Mr Miller of ward seven swallowed the battery", "Case", ("cases/miller.md",))
SHARED = chunk_of("Call the poison centre before anything else", "", ("cases/miller.md", "guide.md"))
GUIDE = chunk_of("Remove the battery within two hours of the accident", "Guide", ("guide.md",))
CHUNKS = [OWN, SHARED, GUIDE]
QUESTION, OTHER_QUESTION = "what did Mr Miller swallow in ward seven", "how soon must a battery be removed"
DOCUMENT = "cases/miller.md"


def corpus_of(chunks: list[Chunk]) -> Corpus:
    names = sorted({name for chunk in chunks for name in chunk.document_ids})
    documents = tuple(Document(name, f"digest of {name}", "text/markdown", 100, 1) for name in names)
    return Corpus("corpus-1", tuple(chunks), documents, (), 0)


@pytest.fixture(params=["folder", "file"])
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Deployment:
    """Two collections went live, the new model learned from the document, the old one did not."""
    place = empty_place(request.param, tmp_path, request)
    deployment = Deployment(artifacts_path=place, local_path=str(tmp_path / "local"), serving_alias=ALIAS)
    workspace = deployment.workspace
    save_record(corpus_of(CHUNKS), workspace.drops / "trained")
    # Behind a URL the tables of the write before the last are there, too.
    save_record(corpus_of(CHUNKS), workspace.tables / "corpus_chunks")
    save_record(corpus_of(CHUNKS), str(workspace.tables / "corpus_chunks"))
    queries = (
        EvaluationQuery("q-1", QUESTION, "test", "plain"),
        EvaluationQuery("q-2", OTHER_QUESTION, "test", "plain"),
    )
    qrels = (RelevanceJudgment("q-1", OWN.chunk_id), RelevanceJudgment("q-2", GUIDE.chunk_id))
    evaluation_set = EvaluationSet("evaluation-1", "corpus-1", "generated", queries, qrels, ())
    save_record(evaluation_set, str(workspace.tables / "evaluation_set"))
    mined = HardNegative(OTHER_QUESTION, GUIDE.text, OWN.text, GUIDE.chunk_id, OWN.chunk_id, 2, 0.9, 0.5)
    negatives = HardNegatives("negatives-1", "model-new", (mined,), (), 1, 0, 0.9, 0.5, 0.5)
    save_record(negatives, str(workspace.tables / "hard_negatives"))
    (workspace.reports / "quotes.html").write_text(f"<td>{QUESTION}</td>")
    (workspace.reports / "silent.html").write_text(f"<td>{OTHER_QUESTION}</td>")
    with workspace.open_ledger() as ledger:
        questions = [(OWN, QUESTION), (GUIDE, OTHER_QUESTION)]
        ledger.add_recorded(RecordedQuestion(chunk.chunk_id, "plain", text, "somebody") for chunk, text in questions)
    learned = learned_from_pairs([pair(QUESTION, OWN), pair(OTHER_QUESTION, GUIDE)], CHUNKS)
    for encoder, rows in ((OLD, learned_from_pairs([pair(OTHER_QUESTION, GUIDE)], CHUNKS)), (NEW, learned)):
        version = register(workspace.registry, encoder).model_version
        write_learned(tmp_path, rows)
        (workspace.root / "models" / version / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes())
        manifest = workspace.root / "models" / version / MANIFEST
        samples = [{"query_id": f"q-{row}", "query": text} for row, text in enumerate((QUESTION, OTHER_QUESTION), 1)]
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "certificate": {"samples": samples}}))
        keys = [text_key("", text) for text in (OWN.embedding_text, QUESTION, GUIDE.embedding_text)]
        workspace.registry.vector_cache(encoder.spec).put(keys, np.ones((3, 32), dtype=np.float32))
        with workspace.open_store() as client:
            Workplace(workspace.qdrant, client, workspace.locks).go_live(plan_of(encoder, CHUNKS), CHUNKS, encoder)
    workspace.lineage.record(
        "promotion", alias=ALIAS, model_version="model-new", collection="x", previous_collection=None, reason="better"
    )
    return deployment


@pytest.fixture
def forgotten(deployment: Deployment) -> Forgotten:
    return forget_document(deployment.workspace, DOCUMENT, reason="asked for by the patient")


def search(deployment: Deployment, query: str) -> list[tuple[str, tuple[str, ...]]]:
    encoders: dict[str, WordEncoder] = {encoder.spec.model_version: encoder for encoder in (OLD, NEW)}
    with Retriever(deployment.workspace.qdrant, ALIAS, lambda spec: encoders[spec.model_version]) as retriever:
        return [(hit.text, hit.document_ids) for hit in retriever.search(query, k=10)]


# --- lineage ---


def test_the_way_leads_from_the_alias_over_the_model_to_the_documents(deployment: Deployment) -> None:
    found = trace(deployment.workspace)
    assert found.live and found.collection == f"{ALIAS}__model-new__corpus-1"
    assert found.served_documents == {DOCUMENT: 2, "guide.md": 2}
    (line,) = found.versions
    assert (line.model_version, line.learned_chunks, line.learned_documents) == ("model-new", 2, (DOCUMENT, "guide.md"))
    assert [move.reason for move in found.moves] == ["better"]
    assert any("4 chunks of 2 documents" in text for text in found.lines())


def test_the_way_leads_from_a_version_too_whether_live_or_not(deployment: Deployment) -> None:
    found = trace(deployment.workspace, "model-old")
    assert not found.live and found.collection == f"{ALIAS}__model-old__corpus-1"
    assert found.versions[0].learned_documents == ("guide.md",)


def test_which_versions_were_trained_on_a_document_is_answered(deployment: Deployment) -> None:
    found = trace_document(deployment.workspace, DOCUMENT)
    assert [row.model_version for row in found.learned] == ["model-new"]
    assert found.live_model == "model-new"
    assert found.shared_with == ("guide.md",)
    assert set(found.collections.values()) == {2} and len(found.collections) == 2
    both = trace_document(deployment.workspace, "guide.md").learned
    assert {row.model_version for row in both} == {"model-old", "model-new"}


def test_an_ending_of_a_path_is_enough_and_an_unknown_document_is_told_with_near_ones(deployment: Deployment) -> None:
    assert trace_document(deployment.workspace, "miller.md").document_id == DOCUMENT
    with pytest.raises(CorpusError, match=r"cases/miller\.md"):
        trace_document(deployment.workspace, "miller")


# --- forgetting ---


def test_the_document_is_gone_from_every_collection_and_shared_passages_no_longer_name_it(
    deployment: Deployment, forgotten: Forgotten
) -> None:
    workspace = deployment.workspace
    with workspace.open_store() as client:
        for row in collections_of(client, ALIAS):
            assert documents_in(client, row.collection) == {"guide.md": 2}
            assert row.point_count == 2
    assert set(forgotten.points.values()) == {1} and len(forgotten.points) == 2
    hits = dict(search(deployment, "Mr Miller battery poison centre"))
    assert OWN.text not in hits
    assert hits[SHARED.text] == ("guide.md",)


def test_ledger_and_vectors_lose_what_was_made_of_it_and_keep_the_rest(
    deployment: Deployment, forgotten: Forgotten
) -> None:
    workspace = deployment.workspace
    with workspace.open_ledger() as ledger:
        assert set(ledger.recorded([OWN.chunk_id, GUIDE.chunk_id])) == {GUIDE.chunk_id}
    assert forgotten.ledger_rows == 1
    keys = [text_key("", text) for text in (OWN.embedding_text, QUESTION, GUIDE.embedding_text)]
    for encoder in (OLD, NEW):
        assert set(workspace.registry.vector_cache(encoder.spec).get(keys)) == {keys[2]}
    assert forgotten.vectors == 4


def test_tables_and_reports_quote_it_no_more(deployment: Deployment, forgotten: Forgotten) -> None:
    workspace = deployment.workspace
    corpus = load_record(Corpus, str(workspace.tables / "corpus_chunks"))
    assert {chunk.text: chunk.document_ids for chunk in corpus.chunks} == {
        SHARED.text: ("guide.md",),
        GUIDE.text: ("guide.md",),
    }
    assert [row.document_id for row in corpus.documents] == ["guide.md"]
    evaluation_set = load_record(EvaluationSet, str(workspace.tables / "evaluation_set"))
    assert [query.text for query in evaluation_set.queries] == [OTHER_QUESTION]
    assert [row.query_id for row in evaluation_set.qrels] == ["q-2"]
    assert load_record(HardNegatives, str(workspace.tables / "hard_negatives")).negatives == ()
    assert workspace.reports.files() == ["silent.html"]
    assert len(load_record(Corpus, workspace.drops / "trained").chunks) == 2
    for name in (name for name in workspace.root.files() if name.startswith(("tables/", "drops/"))):
        assert b"Miller" not in (workspace.root / name).read_bytes(), name
    for version in workspace.registry.versions():
        assert version.certificate == {"samples": [{"query_id": "q-2", "query": OTHER_QUESTION}]}


def test_the_versions_that_learned_from_it_are_named_and_keep_saying_so(
    deployment: Deployment, forgotten: Forgotten
) -> None:
    assert (forgotten.learned, forgotten.live_model_learned) == (("model-new",), True)
    assert [row.model_version for row in trace_document(deployment.workspace, DOCUMENT).learned] == ["model-new"]


def test_it_does_not_come_back_at_the_next_reading(
    deployment: Deployment, forgotten: Forgotten, tmp_path: Path
) -> None:
    (entry,) = deployment.workspace.erasures.entries()
    assert (entry.document_id, entry.document_digest) == (DOCUMENT, f"digest of {DOCUMENT}")
    assert entry.reason == "asked for by the patient"
    assert entry.means("other-name.md", f"digest of {DOCUMENT}")


def test_forgetting_twice_erases_nothing_more(deployment: Deployment, forgotten: Forgotten) -> None:
    again = forget_document(deployment.workspace, DOCUMENT)
    assert (set(again.points.values()), again.vectors, again.table_rows) == ({0}, 0, 0)
    assert len(deployment.workspace.erasures.entries()) == 1


def test_a_forgetting_that_was_killed_half_way_is_finished_by_the_next(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("domain_embed_pipeline.forgetting._forget_vectors", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_document(deployment.workspace, DOCUMENT)
    done = forget_document(deployment.workspace, DOCUMENT)
    assert (done.vectors, done.reports) == (4, ("quotes.html",))
    corpus = load_record(Corpus, str(deployment.workspace.tables / "corpus_chunks"))
    assert OWN.chunk_id not in {chunk.chunk_id for chunk in corpus.chunks}


def test_the_commands_ask_show_and_obey(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", deployment.settings.artifacts_path)
    monkeypatch.setenv("DOMAIN_EMBED_LOCAL_PATH", str(deployment.local_path))
    monkeypatch.setenv("DOMAIN_EMBED_SERVING_ALIAS", ALIAS)
    runner = CliRunner()
    assert f"{ALIAS}__model-new" in runner.invoke(app, ["lineage"]).stdout
    shown = json.loads(runner.invoke(app, ["lineage", "--document", DOCUMENT, "--json"]).stdout)
    assert [row["model_version"] for row in shown["learned"]] == ["model-new"]
    assert runner.invoke(app, ["forget", DOCUMENT], input="n\n").exit_code == 1
    assert deployment.workspace.erasures.entries() == ()
    result = runner.invoke(app, ["forget", "miller.md", "--yes"])
    assert result.exit_code == 0, result.output
    assert "model-new (the live model is one of them)" in result.stdout
    assert runner.invoke(app, ["forget", DOCUMENT, "--lift"]).exit_code == 0
    assert deployment.workspace.erasures.entries() == ()
