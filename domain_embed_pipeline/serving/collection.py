"""Building a versioned collection beside the live one.

What belongs here: names, layout, loading. What does not: judging the result (`verification`), the alias (`alias`).

A build may be killed at any point and run again: point ids come from content, so what is there is found and skipped.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.errors import ServingError
from domain_embed_pipeline.ids import digest_of, digest_of_json, point_id_of
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.contents import delete_points, point_count, points_of, stored_digests, upload
from domain_embed_pipeline.serving.metadata import (
    METADATA_LAYOUT,
    CollectionMetadata,
    alias_targets,
    collection_names,
    read_metadata,
    write_metadata,
)
from domain_embed_pipeline.serving.payload import DENSE_VECTOR, DIGEST_KEY, INDEXED_KEYS, SPARSE_VECTOR, payload_of
from domain_embed_pipeline.serving.records import CollectionPlan, ServingCollection
from domain_embed_pipeline.serving.retries import RetryPolicy
from domain_embed_pipeline.serving.store import is_embedded, make_writes_fast, persist

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

_NORM_ROWS = 65_536
_NAME_LIMIT = 200
"""Below Qdrant's 255, so that a suffix still fits."""


def collection_name(alias: str, model_version: str, corpus_version: str) -> str:
    """`<alias>__<model version>__<corpus version>`, with what Qdrant or a folder would not take made a dash."""
    name = "__".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in (alias, model_version, corpus_version))
    if len(name) <= _NAME_LIMIT:
        return name
    return f"{name[: _NAME_LIMIT - 13]}-{digest_of(alias, model_version, corpus_version)[:12]}"


def plan_digest(plan: CollectionPlan) -> str:
    """Digest of everything that decides what the collection holds and how it answers."""
    loading_only = {"batch_size", "parallel", "indexing_threshold_kb"}
    settings = {key: value for key, value in dataclasses.asdict(plan.settings).items() if key not in loading_only}
    whole = dataclasses.asdict(plan) | {"settings": settings, "layout": METADATA_LAYOUT}
    return digest_of_json(whole)[:24]


def build_collection(
    client: QdrantClient,
    plan: CollectionPlan,
    *,
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    retries: RetryPolicy | None = None,
) -> ServingCollection:
    """Create (or go on with) the collection of a plan and load it. Nothing that is live is touched.

    Args:
        client: Open store.
        plan: What the collection shall be.
        chunks: The whole corpus.
        vectors: Passage vectors by `plan.encoder`, shape (len(chunks), dimension), row i for `chunks[i]`.
        retries: Pauses and attempts against a server.

    Raises:
        ServingError: If vectors do not fit the chunks, or the name is taken by a collection that is not ours.
    """
    started = time.monotonic()
    retries = retries or RetryPolicy()
    _require_aligned(plan, chunks, vectors)
    name, metadata = _claim(client, plan, retries)
    if name in alias_targets(client, retries=retries).values():
        logger.info("Collection %s is live already and equals the plan; nothing is built.", name)
        loaded = _Loaded(metadata)
    else:
        loaded = _load(client, metadata, _Source(plan, chunks, vectors), retries)
    return ServingCollection(
        collection=name,
        alias=plan.alias,
        model_version=plan.encoder.model_version,
        encoder=plan.encoder,
        corpus_version=plan.corpus_version,
        mode=plan.mode,
        sparse_spec=plan.sparse_spec,
        vectors_config=_vectors_summary(plan),
        point_count=point_count(client, name, retries=retries),
        uploaded_count=loaded.uploaded,
        removed_count=loaded.removed,
        created_at=loaded.metadata.created_at,
        duration_s=time.monotonic() - started,
        verified=loaded.metadata.state == "verified",
    )


def _require_aligned(plan: CollectionPlan, chunks: Sequence[Chunk], vectors: np.ndarray) -> None:
    import numpy as np

    expected = (len(chunks), plan.encoder.dimension)
    if not chunks or vectors.shape != expected:
        raise ServingError(
            f"Vectors have shape {vectors.shape}; these chunks and {plan.encoder.model_version} need {expected}.",
            fix="Encode exactly these chunks with this model, in this order.",
        )
    if len({chunk.chunk_id for chunk in chunks}) != len(chunks):
        raise ServingError("The same chunk id occurs twice in the corpus.", fix="Merge equal chunks before indexing.")
    for start in range(0, len(chunks), _NORM_ROWS):
        norms = np.linalg.norm(vectors[start : start + _NORM_ROWS], axis=1)
        bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
        if bad.size:
            raise ServingError(
                f"The vector of chunk {chunks[start + int(bad[0])].chunk_id} is zero or not finite.",
                fix="Check the model: a damaged checkpoint or float16 overflow gives such vectors.",
            )


def _claim(client: QdrantClient, plan: CollectionPlan, retries: RetryPolicy) -> tuple[str, CollectionMetadata]:
    """Name and metadata of the collection to load: an unfinished one of this plan, or a new one.

    A live collection of the same name but another plan (another retrieval mode, say) is left alone: the new one then
    carries the plan's digest as a suffix.
    """
    digest = plan_digest(plan)
    base = collection_name(plan.alias, plan.encoder.model_version, plan.corpus_version)
    existing = collection_names(client, retries=retries)
    aliased = set(alias_targets(client, retries=retries).values())
    for name in (base, f"{base}__{digest[:8]}"):
        if name not in existing:
            return name, _create(client, plan, name, retries)
        metadata = read_metadata(client, name, retries=retries)
        if metadata is None:
            raise ServingError(
                f"A collection named {name} exists and was not made by this pipeline.",
                fix="Rename or delete it, or choose another alias: only our own collections are ever changed.",
            )
        if metadata.plan_digest == digest and metadata.state != "deleting":
            return name, metadata
        if name not in aliased:
            logger.info("Collection %s has another plan and is not live; it is built anew.", name)
            retries.run(f"deletion of {name}", lambda name=name: client.delete_collection(name))
            return name, _create(client, plan, name, retries)
    raise ServingError(
        f"{base} and its variant for this plan are both live under other plans.",
        fix="Roll back or prune the aliases that point at them, then build again.",
    )


def _create(client: QdrantClient, plan: CollectionPlan, name: str, retries: RetryPolicy) -> CollectionMetadata:
    metadata = CollectionMetadata(
        alias=plan.alias,
        collection=name,
        encoder=plan.encoder,
        corpus_version=plan.corpus_version,
        mode=plan.mode,
        sparse_spec=plan.sparse_spec,
        expansion_version=plan.expansion_version,
        plan_digest=plan_digest(plan),
        state="building",
        created_at=_now(),
        quantized=plan.settings.quantization != "none",
        frameworks=plan.settings.frameworks,
        chunking=plan.chunking,
    )

    def create() -> None:
        """Does nothing where an earlier attempt succeeded."""
        # A request that timed out may have been carried out.
        if name not in collection_names(client, retries=retries):
            client.create_collection(name, metadata=metadata.to_payload(), **_layout(client, plan))

    retries.run(f"creation of {name}", create)
    make_writes_fast(client, name)
    return metadata


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _layout(client: QdrantClient, plan: CollectionPlan) -> dict[str, Any]:
    """Arguments of `create_collection`. The embedded store warns about what it ignores, so it gets only vectors."""
    from qdrant_client import models

    settings = plan.settings
    on_disk = settings.vectors_on_disk or None
    dense = models.VectorParams(size=plan.encoder.dimension, distance=models.Distance.COSINE, on_disk=on_disk)
    layout: dict[str, Any] = {"vectors_config": {DENSE_VECTOR: dense}}
    if plan.sparse_spec is not None:
        layout["sparse_vectors_config"] = {SPARSE_VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)}
    if is_embedded(client):
        return layout
    if settings.quantization == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        layout["quantization_config"] = models.ScalarQuantization(scalar=scalar)
    return layout | {
        "shard_number": settings.shard_number,
        "replication_factor": settings.replication_factor,
        "write_consistency_factor": settings.write_consistency_factor,
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=0),
    }


def _vectors_summary(plan: CollectionPlan) -> dict[str, Any]:
    summary: dict[str, Any] = {DENSE_VECTOR: {"size": plan.encoder.dimension, "distance": "Cosine"}}
    if plan.sparse_spec is not None:
        summary[SPARSE_VECTOR] = {"modifier": "idf"}
    return summary | {"quantization": plan.settings.quantization}


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """What a collection is filled with."""

    plan: CollectionPlan
    chunks: Sequence[Chunk]
    vectors: np.ndarray
    """Shape (len(chunks), dimension), row i for `chunks[i]`."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    """What loading did: points written and removed, and what the collection says of itself now."""

    metadata: CollectionMetadata
    uploaded: int = 0
    removed: int = 0


def _load(client: QdrantClient, metadata: CollectionMetadata, source: _Source, retries: RetryPolicy) -> _Loaded:
    """Make the collection hold exactly the chunks."""
    name, plan, chunks = metadata.collection, source.plan, source.chunks
    if not is_embedded(client):
        _index_payload(client, name, retries)
    stored = stored_digests(client, name, retries=retries)
    missing = [row for row, chunk in enumerate(chunks) if not _is_stored(chunk, stored, plan)]
    surplus = sorted(stored.keys() - {point_id_of(chunk.chunk_id) for chunk in chunks})
    if missing or surplus:
        # Whatever it was before, it is nobody's to serve or to prune while it is being changed.
        metadata = dataclasses.replace(metadata, state="building", created_at=_now())
        changes = {"state": metadata.state, "created_at": metadata.created_at}
        write_metadata(client, name, changes, retries=retries)
    logger.info("Collection %s: %d points to write, %d to remove", name, len(missing), len(surplus))
    points = _point_batches(source, missing)
    uploaded = upload(client, name, points=points, parallel=plan.settings.parallel, retries=retries)
    removed = delete_points(client, name, point_ids=surplus, retries=retries)
    if is_embedded(client):
        persist(client, name)
    else:
        _start_indexing(client, name, plan.settings.indexing_threshold_kb, retries)
    return _Loaded(metadata, uploaded, removed)


def _is_stored(chunk: Chunk, stored: Mapping[str, str], plan: CollectionPlan) -> bool:
    """Whether its point is there with the payload that it should have; a payload takes longer to make than to miss."""
    point = point_id_of(chunk.chunk_id)
    return point in stored and stored[point] == payload_of(chunk, plan.settings.frameworks)[DIGEST_KEY]


def _point_batches(source: _Source, rows: Sequence[int]) -> Iterator[list[Any]]:
    plan = source.plan
    sparse = SparseEncoder(plan.sparse_spec) if plan.sparse_spec is not None else None
    size = plan.settings.batch_size
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        yield points_of(
            [source.chunks[row] for row in chosen],
            source.vectors[list(chosen)],
            sparse=sparse,
            frameworks=plan.settings.frameworks,
        )


def _index_payload(client: QdrantClient, name: str, retries: RetryPolicy) -> None:
    """Keyword indexes come before the points: a filterable HNSW graph is only built when they are there."""
    from qdrant_client import models

    for key in INDEXED_KEYS:
        retries.run(
            f"index on {key} of {name}",
            lambda key=key: client.create_payload_index(name, key, models.PayloadSchemaType.KEYWORD, wait=True),
        )


def _start_indexing(client: QdrantClient, name: str, threshold_kb: int, retries: RetryPolicy) -> None:
    from qdrant_client import models

    config = models.OptimizersConfigDiff(indexing_threshold=threshold_kb)
    retries.run(f"start of indexing of {name}", lambda: client.update_collection(name, optimizers_config=config))
