"""The single checks of `verification`, each a function that returns a `CheckResult`.

What belongs here: one property of a collection each. What does not: which are run, and what follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.sparse import SparseEncoder
from domain_embed_pipeline.errors import EncoderMismatchError, VerificationError
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.ids import point_id_of
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline.serving.contents import point_count, stored_digests, vectors_of
from domain_embed_pipeline.serving.metadata import read_metadata
from domain_embed_pipeline.serving.payload import DENSE_VECTOR, DIGEST_KEY, INDEXED_KEYS, SPARSE_VECTOR, payload_of
from domain_embed_pipeline.serving.querying import request_of, run_queries, search_params
from domain_embed_pipeline.serving.records import CheckResult, CollectionPlan
from domain_embed_pipeline.serving.verification_inputs import Subject, VerificationInputs, VerificationSettings

if TYPE_CHECKING:
    import numpy as np

RECALL_AT = 10
_COSINE_TOLERANCE = 1e-4
"""float32 sums in another order differ by about 1e-6; a wrong vector by far more."""
_STRICT_MODE_STATUSES = (400, 403)
_QUERY_BATCH = 32


def configuration(subject: Subject, plan: CollectionPlan) -> CheckResult:
    """Vector names, dimension, distance, IDF; on a server also quantization, shards, replicas and payload indexes."""
    info = subject.info()
    params = info.config.params
    dense = (params.vectors or {}).get(DENSE_VECTOR)
    sparse = (params.sparse_vectors or {}).get(SPARSE_VECTOR)
    seen: dict[str, Any] = {
        "dimension": getattr(dense, "size", None),
        "distance": getattr(getattr(dense, "distance", None), "value", None),
        "idf": getattr(getattr(sparse, "modifier", None), "value", None),
    }
    wanted: dict[str, Any] = {
        "dimension": plan.encoder.dimension,
        "distance": "Cosine",
        "idf": None if plan.sparse_spec is None else "idf",
    }
    if not subject.embedded:
        seen |= {
            "quantized": info.config.quantization_config is not None,
            "indexing_threshold": info.config.optimizer_config.indexing_threshold,
            "payload_indexes": sorted(info.payload_schema),
        }
        wanted |= {
            "quantized": plan.settings.quantization != "none",
            "indexing_threshold": plan.settings.indexing_threshold_kb,
            "payload_indexes": sorted(INDEXED_KEYS),
        }
        for name in ("shard_number", "replication_factor", "write_consistency_factor"):
            if getattr(plan.settings, name) is not None:
                seen[name], wanted[name] = getattr(params, name), getattr(plan.settings, name)
    return _equality("configuration", seen, wanted)


def metadata(subject: Subject, plan: CollectionPlan) -> CheckResult:
    """Encoder, mode, sparse spec and corpus version that a reader will go by equal the plan."""
    stored = read_metadata(subject.client, subject.collection, retries=subject.retries)
    if stored is None:
        return CheckResult("metadata", False, False, "the collection has no metadata of ours")
    names = ("alias", "encoder", "corpus_version", "mode", "sparse_spec", "expansion_version", "chunking")
    seen = {name: getattr(stored, name) for name in names}
    return _equality("metadata", seen, {name: getattr(plan, name) for name in names})


def _equality(name: str, seen: dict[str, Any], wanted: dict[str, Any]) -> CheckResult:
    different = [key for key in wanted if seen.get(key) != wanted[key]]
    detail = "; ".join(f"{key} is {seen.get(key)!r}, planned {wanted[key]!r}" for key in different)
    return CheckResult(name, not different, False, detail or f"{len(wanted)} values as planned")


def id_set(subject: Subject, chunks: Sequence[Chunk], plan: CollectionPlan) -> CheckResult:
    """Exactly the chunks of the corpus, each with the payload it should have."""
    stored = stored_digests(subject.client, subject.collection, retries=subject.retries)
    expected = {
        point_id_of(chunk.chunk_id): payload_of(chunk, plan.settings.frameworks)[DIGEST_KEY] for chunk in chunks
    }
    missing = sorted(expected.keys() - stored.keys())
    surplus = sorted(stored.keys() - expected.keys())
    stale = sorted(point for point in expected.keys() & stored.keys() if stored[point] != expected[point])
    problems = [
        f"{len(points)} {what} (first: {points[0]})"
        for what, points in (("missing", missing), ("surplus", surplus), ("with another payload", stale))
        if points
    ]
    detail = ", ".join(problems) or f"{len(stored)} points, exactly the corpus"
    return CheckResult("id_set", not problems, False, detail, float(len(stored)), float(len(expected)))


def status(subject: Subject, settings: VerificationSettings) -> CheckResult:
    """Green, several times in a row. Grey means that indexing waits for an update, so it gets an empty one."""
    if subject.embedded:
        return CheckResult("status", True, True, "an embedded store is always green")
    waited, greens, seen = 0.0, 0, ""
    while greens < settings.stable_greens:
        info = subject.info()
        seen = info.status.value
        optimizer = getattr(info.optimizer_status, "value", info.optimizer_status)
        if seen == "red" or optimizer != "ok":
            return CheckResult("status", False, False, f"status {seen}, optimizer {optimizer}")
        if seen == "grey":
            _wake(subject)
        greens = greens + 1 if seen == "green" else 0
        if greens < settings.stable_greens:
            if waited >= settings.green_timeout_s:
                return CheckResult("status", False, False, f"still {seen} after {waited:.0f} s")
            settings.sleep(settings.green_poll_s)
            waited += settings.green_poll_s
    return CheckResult("status", True, False, f"green {greens} times in a row after {waited:.0f} s")


def _wake(subject: Subject) -> None:
    from qdrant_client import models

    subject.retries.run(
        f"waking of {subject.collection}",
        lambda: subject.client.update_collection(subject.collection, optimizers_config=models.OptimizersConfigDiff()),
    )


def stored_vectors(
    subject: Subject, chunks: Sequence[Chunk], vectors: np.ndarray, *, settings: VerificationSettings
) -> CheckResult:
    """A sample of the vectors, read back, points the way of those that were sent (Qdrant normalises for cosine)."""
    import numpy as np

    rows = _sample(len(chunks), settings.vector_sample, settings.seed)
    by_id = {point_id_of(chunks[row].chunk_id): row for row in rows}
    records = subject.retries.run(
        f"sample of {subject.collection}",
        lambda: subject.client.retrieve(
            subject.collection, ids=list(by_id), with_vectors=[DENSE_VECTOR], with_payload=False
        ),
    )
    if len(records) != len(rows):
        return CheckResult("stored_vectors", False, False, f"{len(rows) - len(records)} of {len(rows)} are not there")
    worst = 1.0
    for record in records:
        sent = np.asarray(vectors[by_id[str(record.id)]], dtype=np.float64)
        held = np.asarray(vectors_of(record)[DENSE_VECTOR], dtype=np.float64)
        worst = min(worst, float(sent @ held / (np.linalg.norm(sent) * np.linalg.norm(held))))
    bound = 1.0 - _COSINE_TOLERANCE
    detail = f"smallest cosine to the vector sent is {worst:.6f} over {len(rows)}"
    return CheckResult("stored_vectors", worst >= bound, False, detail, worst, bound)


def index_recall(subject: Subject, inputs: VerificationInputs, *, settings: VerificationSettings) -> CheckResult:
    """Share of the true ten nearest that the approximate index finds, on golden queries or, without, on passages."""
    from qdrant_client.http.exceptions import UnexpectedResponse

    if subject.embedded:
        return CheckResult("index_recall", True, True, "an embedded store searches exactly", 1.0)
    queries = _query_vectors(inputs, settings)
    quantized = inputs.plan.settings.quantization != "none"
    try:
        exact = _dense_ids(subject, queries, exact=True, quantized=quantized)
    except UnexpectedResponse as error:
        if error.status_code not in _STRICT_MODE_STATUSES:
            raise
        return CheckResult("index_recall", True, True, f"the server does not allow exact search (strict mode): {error}")
    near = _dense_ids(subject, queries, exact=False, quantized=quantized)
    shares = [len(true & found) / max(1, len(true)) for true, found in zip(exact, near, strict=True)]
    recall, bound = sum(shares) / len(shares), settings.minimum_index_recall
    detail = f"{recall:.4f} of exact search at {RECALL_AT} over {len(shares)} queries"
    return CheckResult("index_recall", recall >= bound, False, detail, recall, bound)


def _query_vectors(inputs: VerificationInputs, settings: VerificationSettings) -> np.ndarray:
    if inputs.golden and inputs.encoder is not None:
        texts = [row.text for row in inputs.golden[: settings.recall_queries]]
        return inputs.encoder.encode_queries(texts)
    return inputs.vectors[_sample(len(inputs.chunks), settings.recall_queries, settings.seed)]


def _dense_ids(subject: Subject, queries: np.ndarray, *, exact: bool, quantized: bool) -> list[set[str]]:
    params = search_params(subject.client, exact=exact, quantized=quantized)
    requests = [request_of(RetrievalMode("dense"), RECALL_AT, dense=row, sparse=None, params=params) for row in queries]
    return [{str(point.id) for point in points} for points in _ask(subject, requests)]


def golden_queries(subject: Subject, inputs: VerificationInputs, *, settings: VerificationSettings) -> CheckResult:
    """Recall@10 of the evaluation's own queries, asked here in the mode that will serve, equals the offline figure."""
    most = settings.golden_queries_embedded if subject.embedded else settings.golden_queries
    golden = [row for row in inputs.golden if row.relevant][:most]
    if not golden:
        return CheckResult("golden_queries", True, True, "the evaluation has no query to ask")
    if inputs.encoder is None:
        raise VerificationError("Golden queries were given without an encoder.", fix="Pass encoder=.")
    if inputs.encoder.spec.fingerprint != inputs.plan.encoder.fingerprint:
        raise EncoderMismatchError(
            f"Golden queries would be encoded by {inputs.encoder.spec.fingerprint}, the plan is for "
            f"{inputs.plan.encoder.fingerprint}.",
            fix="Load the encoder of the model version that the collection was built with.",
        )
    texts = [row.text for row in golden]
    dense = inputs.encoder.encode_queries(texts)
    spec = inputs.plan.sparse_spec
    sparse = SparseEncoder(spec).encode_queries(texts) if spec is not None else [None] * len(texts)
    params = search_params(subject.client, quantized=inputs.plan.settings.quantization != "none")
    requests = [
        request_of(inputs.plan.mode, RECALL_AT, dense=vector, sparse=terms, params=params)
        for vector, terms in zip(dense, sparse, strict=True)
    ]
    answers = _ask(subject, requests)
    here = _mean(
        _recall([str((point.payload or {})["chunk_id"]) for point in points], row.relevant)
        for points, row in zip(answers, golden, strict=True)
    )
    offline = _mean(_recall(row.retrieved[:RECALL_AT], row.relevant) for row in golden)
    # Chunks of equal BM25 weight have no set order on a server, which can decide one query of a small set.
    tolerance = max(settings.golden_tolerance, 1 / len(golden))
    passed = abs(here - offline) <= tolerance
    detail = f"Recall@{RECALL_AT} {here:.4f} here, {offline:.4f} offline, over {len(golden)} queries"
    return CheckResult("golden_queries", passed, False, detail, here, offline)


def latency(subject: Subject, inputs: VerificationInputs, *, settings: VerificationSettings) -> CheckResult:
    """p95 of single dense queries is not far above the live collection's."""
    new_ms = _p95_ms(subject, _query_vectors(inputs, settings)[: settings.latency_queries])
    if inputs.live_collection is None or inputs.live_collection == subject.collection:
        return CheckResult("latency", True, True, f"p95 {new_ms:.1f} ms; nothing live to compare with", new_ms)
    live = Subject(subject.client, inputs.live_collection, subject.retries)
    live_ms = _p95_ms(live, _live_vectors(live, settings.latency_queries))
    live_count = point_count(live.client, live.collection, retries=live.retries)
    # An exact search takes time in proportion to the points; a corpus that grew must not fail for that.
    growth = max(1.0, len(inputs.chunks) / max(1, live_count))
    bound = max(settings.latency_floor_ms, settings.latency_ratio * growth * live_ms)
    detail = f"p95 {new_ms:.1f} ms, live {live_ms:.1f} ms"
    return CheckResult("latency", new_ms <= bound, False, detail, new_ms, bound)


def _live_vectors(live: Subject, count: int) -> Sequence[Any]:
    records, _ = live.retries.run(
        f"sample of {live.collection}",
        lambda: live.client.scroll(live.collection, limit=count, with_vectors=[DENSE_VECTOR], with_payload=False),
    )
    return [vectors_of(record)[DENSE_VECTOR] for record in records]


def _p95_ms(subject: Subject, queries: Sequence[Any] | np.ndarray) -> float:
    import numpy as np

    if len(queries) == 0:
        return 0.0
    times = []
    for query in queries:
        vector = np.asarray(query, dtype=np.float32).tolist()
        started = time.perf_counter()
        subject.retries.run(
            f"query to {subject.collection}",
            lambda vector=vector: subject.client.query_points(
                subject.collection, query=vector, using=DENSE_VECTOR, limit=RECALL_AT
            ),
        )
        times.append((time.perf_counter() - started) * 1_000)
    return float(np.percentile(times, 95))


def _ask(subject: Subject, requests: Sequence[Any]) -> list[list[Any]]:
    answers: list[list[Any]] = []
    for start in range(0, len(requests), _QUERY_BATCH):
        batch = requests[start : start + _QUERY_BATCH]
        answers += subject.retries.run(
            f"queries to {subject.collection}",
            lambda batch=batch: run_queries(subject.client, subject.collection, batch),
        )
    return answers


def _sample(count: int, size: int, seed: int) -> list[int]:
    import numpy as np

    return sorted(np.random.default_rng(seed).choice(count, size=min(size, count), replace=False).tolist())


def _recall(retrieved: Sequence[str], relevant: Sequence[str]) -> float:
    wanted = set(relevant)
    return len(wanted & set(retrieved)) / len(wanted)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
