"""Results of the serving room, and the plan of a collection.

What belongs here: frozen records that assets store or readers get. What does not: anything that touches the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from domain_embed_pipeline.encoding.sparse import SparseSpec
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.evaluation.records import RetrievalMode
from domain_embed_pipeline.serving.payload import Framework


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How a collection is laid out and loaded. The embedded store ignores all but `batch_size` and `frameworks`."""

    batch_size: int = 128
    parallel: int = 2
    """Upload requests at a time."""
    shard_number: int | None = None
    """A multiple of the number of nodes; None leaves it to the server."""
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    quantization: Literal["none", "int8"] = "none"
    """int8 needs a quarter of the memory; queries rescore with the original vectors."""
    vectors_on_disk: bool = False
    indexing_threshold_kb: int = 10_000
    """Segments above it get an HNSW graph. It is 0 (off) while loading."""
    frameworks: tuple[Framework, ...] = ("langchain", "llama_index")
    """Whose payload keys are written beside ours. Each adds a copy of the text to the payload."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.parallel < 1:
            raise ConfigurationError(
                f"batch_size={self.batch_size} and parallel={self.parallel} must be at least 1.",
                fix="Use batches of 64 to 256 and 2 to 4 uploads at a time.",
            )


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection shall be, decided before anything is written."""

    alias: str
    encoder: EncoderSpec
    corpus_version: str
    mode: RetrievalMode
    sparse_spec: SparseSpec | None = None
    """BM25 vectors are stored when it is given, whatever the mode, so that the mode can change without a rebuild."""
    expansion_version: str = ""
    """Digest of the questions that chunks are expanded by; empty when they are not."""
    settings: BuildSettings = field(default_factory=BuildSettings)
    chunking: dict[str, Any] = field(default_factory=dict)
    """How the chunks were cut (`Corpus.settings`), so that a later catch-up cuts in the same way."""

    def __post_init__(self) -> None:
        if self.mode.kind != "dense" and self.sparse_spec is None:
            raise ConfigurationError(
                f"Retrieval mode {self.mode.kind} needs BM25 vectors, and the plan of {self.alias} has no sparse spec.",
                fix="Pass sparse_spec=fit_sparse_spec(texts), or use the dense mode.",
            )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a new collection."""

    name: str
    passed: bool
    vacuous: bool
    """True when it could not have failed here (the embedded store is exact and always green), or had nothing to ask."""
    detail: str
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """All checks of one collection."""

    collection: str
    passed: bool
    point_count: int
    checks: tuple[CheckResult, ...]
    duration_s: float

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class ServingCollection:
    """A collection that was built beside the live one."""

    collection: str
    alias: str
    model_version: str
    encoder: EncoderSpec
    corpus_version: str
    mode: RetrievalMode
    sparse_spec: SparseSpec | None
    vectors_config: dict[str, Any]
    point_count: int
    uploaded_count: int
    """Points written by this run; the others were there from an earlier one."""
    removed_count: int
    created_at: str
    duration_s: float
    verified: bool
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class AliasSwap:
    """One move of the alias, or the reason why none was needed."""

    alias: str
    kind: Literal["swap", "rollback"]
    previous_collection: str | None
    collection: str
    model_version: str
    swapped: bool
    reason: str
    at: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Why a candidate may go live."""

    model_version: str
    verdict: str
    """That of the comparison; `unchanged` where the model stays and only its index is built anew, `base` where the base
    model is the first to serve."""
    reason: str
    certificate_passed: bool
    overridden: bool
    override_reason: str | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What it took to make a collection hold exactly the corpus."""

    collection: str
    corpus_version: str
    added: int
    updated: int
    """Payloads rewritten because documents or titles of a chunk changed; their vectors stay."""
    deleted: int
    unchanged: int
    point_count: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What one user asks."""

    query: str
    k: int = 10
    filter: Any = None
    """Payload key to its value or values, or Qdrant's own filter."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One chunk found."""

    chunk_id: str
    score: float
    text: str
    title: str
    source: str
    document_ids: tuple[str, ...]
    external_ids: tuple[str, ...]
    collection: str
    model_version: str
    """Model that encoded both the query and this chunk."""
