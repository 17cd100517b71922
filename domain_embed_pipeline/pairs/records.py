"""Records of this room: what its steps hand to each other, to storage and to the asset checks.

What does not belong here: records that other rooms read as rows (`domain_embed_pipeline.records`), settings (beside the
function that uses them).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from domain_embed_pipeline.records import PairSource, RejectedPair, TrainingPair

Detector = Literal["exact", "shingle", "embedding", "held_out_chunk"]


@dataclass(frozen=True, slots=True)
class SourceCount:
    """How many pairs of one source there were at each step; a row of the mix."""

    source: PairSource
    candidates: int
    rejected: int
    """Dropped by filters, caps or the leakage detectors."""
    kept: int
    share: float
    """Of all kept pairs, 0 to 1."""


@dataclass(frozen=True, slots=True)
class DropCount:
    """How many pairs one reason cost."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class StructuralPairs:
    """Pairs that need no LLM: title-body and adjacent sentences of documents on the train side."""

    pairs: tuple[TrainingPair, ...]
    """Sorted by `pair_id`."""
    counts: tuple[SourceCount, ...]
    """`rejected` is what the caps cost."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of the user's pairs that could not be used."""

    row: int
    """Line of the file, from 1; for CSV and Parquet the row of data, from 1."""
    query: str
    reference: str
    reason: str
    """`empty_query`, `no_reference`, `unknown_query`, `unknown_chunk`, `not_relevant` or `malformed`."""


@dataclass(frozen=True, slots=True)
class UserPairs:
    """The user's own (query, chunk) pairs."""

    pairs: tuple[TrainingPair, ...]
    """Sorted by `pair_id`."""
    bad_rows: tuple[BadRow, ...]


@dataclass(frozen=True, slots=True)
class FilterResult:
    """What one filter kept and what it dropped, with the reason."""

    kept: tuple[TrainingPair, ...]
    """In the order in which they came."""
    dropped: tuple[RejectedPair, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """A training pair that gives away an evaluation query."""

    pair_id: str
    query_id: str
    """Empty for `held_out_chunk`: the chunk is the leak, whatever the query."""
    detector: Detector
    similarity: float
    """1 for `exact` and `held_out_chunk`; share of shared words for `shingle`; cosine for `embedding`."""
    anchor: str
    query: str


@dataclass(frozen=True, slots=True)
class DetectorCount:
    """What one detector found among the candidate pairs, and what became of it."""

    detector: Detector
    ran: bool
    found: int
    """Pairs, each counted once a detector."""
    removed: int
    remaining: int


@dataclass(frozen=True, slots=True)
class LeakageCertificate:
    """What overlap there was between training pairs and evaluation set, and what is left of it."""

    pairs_version: str
    evaluation_set_version: str
    pair_count: int
    query_count: int
    detectors: tuple[DetectorCount, ...]
    samples: tuple[Leak, ...]
    """At most `LeakageSettings.samples_per_detector` of each."""
    encoder_fingerprint: str
    """Encoder of the embedding detector; empty when it did not run."""
    settings_digest: str
    passed: bool
    digest: str
    """Of every other field: what a comparison quotes."""

    def without_samples(self) -> dict[str, Any]:
        """All but the samples, which quote questions: what may stay beside weights for ever."""
        figures = asdict(self)
        del figures["samples"]
        return figures


@dataclass(frozen=True, slots=True)
class TrainingPairs:
    """What training may use, what was rejected and why, and the certificate."""

    pairs_version: str
    corpus_version: str
    splits_version: str
    evaluation_set_version: str
    pairs: tuple[TrainingPair, ...]
    """Sorted by `pair_id`."""
    rejected: tuple[RejectedPair, ...]
    mix: tuple[SourceCount, ...]
    drops: tuple[DropCount, ...]
    certificate: LeakageCertificate

    def drop_samples(self, per_reason: int = 20) -> tuple[RejectedPair, ...]:
        """At most so many rejections of each reason, most frequent reason first, spread evenly over the reason's."""
        by_reason: dict[str, list[RejectedPair]] = {row.reason: [] for row in self.drops}
        for row in self.rejected:
            by_reason.setdefault(row.reason, []).append(row)
        return tuple(
            rows[place * len(rows) // min(per_reason, len(rows))]
            for rows in by_reason.values()
            for place in range(min(per_reason, len(rows)))
        )
