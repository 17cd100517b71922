"""Points: what is stored beside each vector, under which keys.

What belongs here: payload and point ids. What does not: uploading.

The keys serve three readers of one collection: ours (`text`, `chunk_id`, ...), LangChain's `QdrantVectorStore`
(`page_content`, `metadata`) and LlamaIndex's (`_node_content`, `_node_type`, `doc_id`).
"""

from __future__ import annotations

import json
from typing import Any, Literal

from domain_embed_pipeline.ids import digest_of_json, point_id_of
from domain_embed_pipeline.records import Chunk

Framework = Literal["langchain", "llama_index"]

DENSE_VECTOR = "dense"
SPARSE_VECTOR = "bm25"
DIGEST_KEY = "payload_digest"
INDEXED_KEYS = ("chunk_id", "document_ids", "source", "external_ids", "doc_id", "metadata.source")
"""Keyword indexes on a server: without them a filtered query scans, or is refused in strict mode."""


def payload_of(chunk: Chunk, frameworks: tuple[Framework, ...]) -> dict[str, Any]:
    """Payload of a chunk, with the digest by which a restart and a catch-up see whether it is up to date."""
    metadata = {
        "chunk_id": chunk.chunk_id,
        "title": chunk.title,
        "source": chunk.document_id,
        "document_ids": list(chunk.document_ids),
        "external_ids": list(chunk.external_ids),
    }
    payload: dict[str, Any] = {**metadata, "text": chunk.text}
    if "langchain" in frameworks:
        payload |= {"page_content": chunk.text, "metadata": metadata}
    if "llama_index" in frameworks:
        payload |= _llama_index_keys(chunk, metadata)
    return {**payload, DIGEST_KEY: digest_of_json(payload)[:24]}


def _llama_index_keys(chunk: Chunk, metadata: dict[str, Any]) -> dict[str, Any]:
    """What LlamaIndex's `node_to_metadata_dict` writes for a `TextNode`; its ids are point ids."""
    hidden = ["chunk_id", "document_ids", "external_ids"]
    source = {"node_id": chunk.document_id, "node_type": "4", "metadata": {}, "class_name": "RelatedNodeInfo"}
    node = {
        "id_": point_id_of(chunk.chunk_id),
        "embedding": None,
        "metadata": metadata,
        "excluded_embed_metadata_keys": hidden,
        "excluded_llm_metadata_keys": hidden,
        "relationships": {"1": source},
        "text": chunk.text,
        "class_name": "TextNode",
    }
    return {
        "_node_content": json.dumps(node, ensure_ascii=False),
        "_node_type": "TextNode",
        "doc_id": chunk.document_id,
        "document_id": chunk.document_id,
        "ref_doc_id": chunk.document_id,
    }
