from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models

from domain_embed_pipeline.corpus.existing_index import ExistingIndex, parse_location
from domain_embed_pipeline.errors import CorpusSourceError
from domain_embed_pipeline_tests.corpus.helpers import corpus_of


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    opened = QdrantClient(":memory:")
    opened.create_collection("rag", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    yield opened
    opened.close()


def upsert(client: QdrantClient, payloads: list[dict]) -> None:
    points = [
        models.PointStruct(id=number, vector=[0.0, 1.0], payload=payload) for number, payload in enumerate(payloads)
    ]
    client.upsert("rag", points)


def test_a_location_names_collection_and_fields() -> None:
    assert parse_location("qdrant://My-Docs?text=page_content&source=metadata.source") == ExistingIndex(
        "My-Docs", text="page_content", source="metadata.source"
    )


@pytest.mark.parametrize("location", ["qdrant://", "qdrant://docs?txt=body"])
def test_a_location_without_collection_or_with_an_unknown_field_is_refused(location: str) -> None:
    with pytest.raises(CorpusSourceError, match="qdrant://"):
        parse_location(location)


def test_every_point_becomes_a_ready_chunk(client: QdrantClient) -> None:
    upsert(client, [{"text": f"Text {number}.", "title": "T", "source": f"{number % 3}.pdf"} for number in range(600)])
    corpus = corpus_of("qdrant://rag", qdrant_client=client)
    assert len(corpus.chunks) == 600
    assert [document.document_id for document in corpus.documents] == ["0.pdf", "1.pdf", "2.pdf"]
    assert {chunk.external_ids for chunk in corpus.chunks} == {(str(number),) for number in range(600)}


def test_fields_may_lie_deeper_and_the_id_in_the_payload(client: QdrantClient) -> None:
    upsert(client, [{"page_content": "Text.", "metadata": {"source": "a.pdf", "id": "a-7"}}])
    location = "qdrant://rag?text=page_content&source=metadata.source&id=metadata.id"
    (chunk,) = corpus_of(location, qdrant_client=client).chunks
    assert (chunk.text, chunk.document_ids, chunk.external_ids) == ("Text.", ("a.pdf",), ("a-7",))


def test_a_point_without_text_is_set_aside_by_its_id(client: QdrantClient) -> None:
    upsert(client, [{"text": "Text."}, {"image": "x.png"}])
    corpus = corpus_of("qdrant://rag", qdrant_client=client)
    assert corpus.documents[0].document_id == "qdrant://rag"
    assert [(row.reason, "point 1" in row.detail) for row in corpus.quarantine] == [("bad_row", True)]


def test_a_missing_collection_is_named_with_those_that_exist(client: QdrantClient) -> None:
    with pytest.raises(CorpusSourceError, match=r"'docs'.*rag"):
        corpus_of("qdrant://docs", qdrant_client=client)


def test_a_collection_without_an_open_store_is_an_error() -> None:
    with pytest.raises(CorpusSourceError, match="no Qdrant store"):
        corpus_of("qdrant://rag")
