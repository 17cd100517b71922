"""LangChain's and LlamaIndex's own Qdrant stores, unmodified, read what we built."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from domain_embed_pipeline.errors import MissingDependencyError
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.serving.frameworks import langchain_retriever, llama_index_retriever
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline_tests.serving.conftest import Place, Workplace
from domain_embed_pipeline_tests.serving.scenario import (
    ALIAS,
    HYBRID,
    WordEncoder,
    chunks_of,
    dense_ranking,
    plan_of,
    texts_of,
)

ENCODER = WordEncoder()
CHUNKS = chunks_of(30)
QUERY = "how do I clean the pump"


@pytest.fixture
def filled(workplace: Workplace) -> Workplace:
    workplace.go_live(plan_of(ENCODER, CHUNKS, mode=HYBRID), CHUNKS, ENCODER)
    return workplace


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchain_reads_the_collection_through_the_alias(filled: Workplace) -> None:
    langchain_qdrant = pytest.importorskip("langchain_qdrant")
    from langchain_core.embeddings import Embeddings

    class OurEmbeddings(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return ENCODER.encode_passages(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return ENCODER.encode_queries([text])[0].tolist()

    store = langchain_qdrant.QdrantVectorStore(
        client=filled.client, collection_name=ALIAS, embedding=OurEmbeddings(), vector_name="dense"
    )
    documents = store.similarity_search(QUERY, k=4)
    assert [document.metadata["chunk_id"] for document in documents] == dense_ranking(ENCODER, CHUNKS, QUERY)[:4]
    by_id = {chunk.chunk_id: chunk for chunk in CHUNKS}
    for document in documents:
        chunk = by_id[document.metadata["chunk_id"]]
        assert document.page_content == chunk.text
        assert document.metadata["source"] == chunk.document_id


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchain_asks_both_vectors_of_a_hybrid_collection(filled: Workplace) -> None:
    langchain_qdrant = pytest.importorskip("langchain_qdrant")
    from langchain_core.embeddings import Embeddings

    from domain_embed_pipeline.encoding.sparse import SparseEncoder

    class OurEmbeddings(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return ENCODER.encode_passages(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return ENCODER.encode_queries([text])[0].tolist()

    class OurWords(langchain_qdrant.SparseEmbeddings):
        encoder = SparseEncoder(plan_of(ENCODER, CHUNKS).sparse_spec)  # type: ignore[arg-type]

        def embed_documents(self, texts: list[str]) -> list[object]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> object:
            (vector,) = self.encoder.encode_queries([text])
            return langchain_qdrant.SparseVector(indices=list(vector.indices), values=list(vector.values))

    store = langchain_qdrant.QdrantVectorStore(
        client=filled.client,
        collection_name=ALIAS,
        embedding=OurEmbeddings(),
        sparse_embedding=OurWords(),
        retrieval_mode=langchain_qdrant.RetrievalMode.HYBRID,
        vector_name="dense",
        sparse_vector_name="bm25",
    )
    query = "p17 clean clean clean clean pump pump pump pump"
    found = [document.metadata["chunk_id"] for document in store.similarity_search(query, k=3)]
    assert CHUNKS[17].chunk_id in found
    assert CHUNKS[17].chunk_id not in dense_ranking(ENCODER, CHUNKS, query)[:3]


def test_llama_index_reads_the_collection_through_the_alias(filled: Workplace) -> None:
    qdrant = pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.core.vector_stores.types import VectorStoreQuery

    store = qdrant.QdrantVectorStore(collection_name=ALIAS, client=filled.client, dense_vector_name="dense")
    vector = ENCODER.encode_queries([QUERY])[0].tolist()
    result = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=4))

    ranking = dense_ranking(ENCODER, CHUNKS, QUERY)[:4]
    by_id = {chunk.chunk_id: chunk for chunk in CHUNKS}
    assert [node.metadata["chunk_id"] for node in result.nodes] == ranking
    assert result.ids == [point_id_of(chunk_id) for chunk_id in ranking]
    for node in result.nodes:
        chunk = by_id[node.metadata["chunk_id"]]
        assert node.text == chunk.text
        assert node.ref_doc_id == chunk.document_id
        assert node.node_id == point_id_of(chunk.chunk_id)


def test_our_llama_index_keys_are_those_that_it_writes_itself() -> None:
    """Characterization: what `node_to_metadata_dict` gives for the node that our payload stands for."""
    pytest.importorskip("llama_index.core")
    import json

    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

    from domain_embed_pipeline.serving.payload import payload_of

    payload = payload_of(CHUNKS[0], ("llama_index",))
    theirs = node_to_metadata_dict(metadata_dict_to_node(payload), remove_text=False)
    for key in ("_node_type", "doc_id", "document_id", "ref_doc_id"):
        assert payload[key] == theirs[key]
    ours_node, their_node = json.loads(payload["_node_content"]), json.loads(theirs["_node_content"])
    assert ours_node.keys() <= their_node.keys()
    assert {key: their_node[key] for key in ("id_", "text", "metadata", "class_name")} == {
        key: ours_node[key] for key in ("id_", "text", "metadata", "class_name")
    }


def test_vectors_of_texts_are_the_same_whoever_asks(filled: Workplace) -> None:
    records, _ = filled.client.scroll(ALIAS, limit=1, with_vectors=["dense"])
    payload, vector = records[0].payload or {}, records[0].vector
    assert isinstance(vector, dict)
    text = next(text for chunk, text in zip(CHUNKS, texts_of(CHUNKS), strict=True) if chunk.text == payload["text"])
    assert vector["dense"] == pytest.approx(ENCODER.encode_passages([text])[0].tolist(), abs=1e-5)


@pytest.fixture
def retriever(place: Place) -> Iterator[Retriever]:
    place.go_live(plan_of(ENCODER, CHUNKS), CHUNKS, ENCODER)
    with Retriever(place.settings, ALIAS, lambda _: ENCODER) as retriever:
        yield retriever


def test_our_langchain_retriever_gives_what_ours_gives(retriever: Retriever) -> None:
    pytest.importorskip("langchain_core")
    documents = langchain_retriever(retriever, k=4).invoke(QUERY)
    hits = retriever.search(QUERY, k=4)
    assert [document.page_content for document in documents] == [hit.text for hit in hits]
    assert [document.metadata["score"] for document in documents] == pytest.approx([hit.score for hit in hits])
    assert documents[0].metadata["model_version"] == "model-a"


def test_our_llama_index_retriever_gives_what_ours_gives(retriever: Retriever) -> None:
    pytest.importorskip("llama_index.core")
    nodes = llama_index_retriever(retriever, k=4, filter={"source": "manual-1.md"}).retrieve(QUERY)
    hits = retriever.search(QUERY, k=4, filter={"source": "manual-1.md"})
    assert [node.text for node in nodes] == [hit.text for hit in hits]
    assert [node.score for node in nodes] == pytest.approx([hit.score for hit in hits])
    assert [node.node_id for node in nodes] == [point_id_of(hit.chunk_id) for hit in hits]


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (langchain_retriever, "langchain_core.documents", "langchain"),
        (llama_index_retriever, "llama_index.core.retrievers", "llama-index"),
    ],
    ids=["langchain", "llama-index"],
)
def test_a_framework_that_is_not_installed_is_named_with_its_extra(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch, make: Any, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"domain-embed-pipeline\[{extra}\]"):
        make(retriever)
