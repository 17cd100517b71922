"""What a collection says about itself: the metadata that binds its vectors to one encoder and one retrieval mode.

What belongs here: reading and writing that metadata. What does not: points, aliases.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from domain_embed_pipeline.encoding.sparse import SparseSpec
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import ServingError
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.serving.payload import Framework
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.tables import from_plain

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

MADE_BY = "domain-embed-pipeline"
METADATA_LAYOUT = 1

State = Literal["building", "verified", "deleting"]


@dataclass(frozen=True, slots=True)
class CollectionMetadata:
    """Everything that a reader needs to query the collection rightly, and a writer to know whose it is."""

    alias: str
    collection: str
    encoder: EncoderSpec
    corpus_version: str
    """Corpus that it was built from."""
    mode: RetrievalMode
    sparse_spec: SparseSpec | None
    """None when there are no sparse vectors."""
    plan_digest: str
    state: State
    created_at: str
    quantized: bool = False
    frameworks: tuple[Framework, ...] = ("langchain", "llama_index")
    """Whose payload keys its points carry; a catch-up writes the same."""
    point_count: int = 0
    """At the last verification."""
    expansion_version: str = ""
    """Digest of the questions that chunks were expanded by; empty when they were not."""
    content_version: str | None = None
    """Corpus version of the last catch-up, when there was one."""
    live_since: str | None = None
    previous_collection: str | None = None
    """What the alias pointed at before it pointed here."""
    made_by: str = MADE_BY
    layout: int = METADATA_LAYOUT
    chunking: dict[str, Any] = field(default_factory=dict)
    """How its documents were cut (`Corpus.settings`); a catch-up cuts new ones in the same way."""

    @property
    def model_version(self) -> str:
        """Registry version whose vectors these are."""
        return self.encoder.model_version

    def to_payload(self) -> dict[str, Any]:
        """As JSON, without what is None (Qdrant reads a null as "remove this key")."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def read_metadata(client: QdrantClient, collection: str, *, retries: RetryPolicy) -> CollectionMetadata | None:
    """Metadata of a collection (or of what an alias points at); None when the collection is not ours.

    Raises:
        ServingError: If it was written by a newer version of this package.
    """
    info = retries.run(f"metadata of {collection}", lambda: client.get_collection(collection))
    raw = dict(info.config.metadata or {})
    if raw.get("made_by") != MADE_BY:
        return None
    if raw.get("layout") != METADATA_LAYOUT:
        raise ServingError(
            f"Collection {collection} has metadata layout {raw.get('layout')}; this version reads {METADATA_LAYOUT}.",
            fix="Install the version of domain-embed-pipeline that built it, or build it again with this one.",
        )
    raw = {"sparse_spec": None, **raw}
    known = {field.name for field in dataclasses.fields(CollectionMetadata)}
    plain = {name: value for name, value in raw.items() if name in known}
    return from_plain(CollectionMetadata, plain)


def write_metadata(client: QdrantClient, collection: str, changes: dict[str, Any], *, retries: RetryPolicy) -> None:
    """Merge some keys into a collection's metadata; the others stay."""
    retries.run(
        f"metadata of {collection}", lambda: client.update_collection(collection_name=collection, metadata=changes)
    )


def collection_names(client: QdrantClient, *, retries: RetryPolicy) -> frozenset[str]:
    """Names of the collections that exist, aliases left out."""
    response = retries.run("list of collections", lambda: client.get_collections())
    return frozenset(row.name for row in response.collections)


def alias_targets(client: QdrantClient, *, retries: RetryPolicy) -> dict[str, str]:
    """`alias -> collection` of the whole store."""
    response = retries.run("list of aliases", lambda: client.get_aliases())
    return {row.alias_name: row.collection_name for row in response.aliases}


def collections_of(
    client: QdrantClient, alias: str, *, retries: RetryPolicy | None = None
) -> tuple[CollectionMetadata, ...]:
    """Our collections of one alias; what went live last comes first."""
    retries = retries or RetryPolicy()
    found = []
    for name in sorted(collection_names(client, retries=retries)):
        if name.startswith(f"{alias}__"):
            metadata = read_metadata(client, name, retries=retries)
            if metadata is not None and metadata.alias == alias and metadata.collection == name:
                found.append(metadata)
    return tuple(sorted(found, key=lambda metadata: metadata.live_since or metadata.created_at, reverse=True))
