"""A deployment whose documents are live, served by a tiny real model that was never trained; and edits of documents."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.drops.indexing import CurrentDocuments, ServedDocuments, index_new_documents
from domain_embed_pipeline.encoding.sparse import fit_sparse_spec
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.serving.alias import swap_alias
from domain_embed_pipeline.serving.collection import build_collection
from domain_embed_pipeline.serving.metadata import write_metadata
from domain_embed_pipeline.serving.records import (
    CollectionPlan,
    PromotionDecision,
    ServingCollection,
)
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.tables import save_record
from domain_embed_pipeline.workspace import Workspace

HYBRID = RetrievalMode("hybrid", fusion="rrf", sparse_weight=0.5)
APPROVED = PromotionDecision("any", "better", "for the test", True, False, None)
TOPICS = ["pump", "valve", "gasket", "rotor", "bearing", "filter", "sensor", "motor", "belt", "hose"]


def sentence(number: int) -> str:
    """A sentence that no other number has."""
    topic = TOPICS[number % len(TOPICS)]
    return f"tell{number % 30} the {topic} is noted here under number w{number}."


@dataclass
class Place:
    """Documents in a folder, and the deployment that serves them."""

    workspace: Workspace
    documents: Path

    def write(self, name: str, *numbers: int) -> Path:
        """A document with one section, and so one chunk, for each number."""
        path = self.documents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "\n\n".join(f"# Section {number}\n\n{sentence(number)}" for number in numbers)
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def write_rows(self, name: str, numbers: Iterable[int]) -> Path:
        """A file of ready chunks, one for each number."""
        rows = [json.dumps({"text": sentence(number), "title": f"Section {number}"}) for number in numbers]
        path = self.documents / name
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path

    def go_live(self, *, model: ModelVersion | None = None, mode: RetrievalMode = HYBRID) -> ServingCollection:
        """Build the collection of the documents as they are and move the alias to it."""
        corpus = self.workspace.load_corpus()
        save_record(corpus, str(self.workspace.tables / "corpus_chunks"))
        built = self.build(corpus, model=model, mode=mode)
        alias = self.workspace.settings.serving_alias
        with self.workspace.open_store() as client:
            aliases = {row.alias_name: row.collection_name for row in client.get_aliases().aliases}
            swap_alias(
                client,
                alias,
                built.collection,
                expected_current=aliases.get(alias),
                lock_folder=self.workspace.locks,
            )
        self.workspace.lineage.record(
            "promotion",
            alias=alias,
            model_version=built.model_version,
            collection=built.collection,
            previous_collection=None,
            reason="for the test",
        )
        documents = CurrentDocuments(self.workspace, corpus.settings)
        documents.read()
        documents.note_indexed(built.collection)
        return built

    def build(
        self, corpus: Corpus, *, model: ModelVersion | None = None, mode: RetrievalMode = HYBRID
    ) -> ServingCollection:
        """A collection beside the live one, taken as verified: verifying is slow, and not what is tested."""
        model = model or self.workspace.base_model
        encoder = self.workspace.registry.encoder(model.model_version)
        texts = [chunk.embedding_text for chunk in corpus.chunks]
        plan = CollectionPlan(
            alias=self.workspace.settings.serving_alias,
            encoder=encoder.spec,
            corpus_version=corpus.corpus_version,
            mode=mode,
            sparse_spec=fit_sparse_spec(texts),
            chunking=corpus.settings,
        )
        vectors = encoder.encode_passages(texts)
        with self.workspace.open_store() as client:
            built = build_collection(client, plan, chunks=corpus.chunks, vectors=vectors)
            write_metadata(client, built.collection, {"state": "verified"}, retries=RetryPolicy())
        return dataclasses.replace(built, verified=True)

    def index(self, before: ServedDocuments | None = None) -> ServedDocuments:
        """What `index_new_documents_job` does first."""
        return index_new_documents(self.workspace, before=before)

    def live_ids(self) -> set[str]:
        """Chunk ids behind the alias."""
        return self.ids(self.workspace.settings.serving_alias)

    def ids(self, collection: str) -> set[str]:
        """Chunk ids of a collection."""
        with self.workspace.open_store() as client:
            records, _ = client.scroll(collection, limit=100_000)
        return {(record.payload or {})["chunk_id"] for record in records}

    def ids_now(self) -> set[str]:
        """Chunk ids of the documents as they are."""
        return {chunk.chunk_id for chunk in self.workspace.load_corpus().chunks}

    def found(self, number: int) -> bool:
        """Whether a search for a sentence finds it."""
        with self.workspace.retriever() as retriever:
            hits = retriever.search(sentence(number), k=3)
        return any(sentence(number) in hit.text for hit in hits)


def place_of(folder: Path, model: str, **settings: object) -> Place:
    """An empty deployment under a folder. Chunks are single sections."""
    documents = folder / "documents"
    documents.mkdir(parents=True)
    values = {"corpus_path": str(documents), "artifacts_path": str(folder / "artifacts"), "base_model": model}
    return Place(Workspace(DeploymentSettings(**values | settings)), documents)  # pyright: ignore[reportArgumentType]
