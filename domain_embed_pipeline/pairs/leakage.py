"""Overlap between training pairs and evaluation queries: three detectors for texts, one for held-out chunks.

What belongs here: finding it and certifying what is left. What does not: removing it (`training_pairs`), where
overlap becomes a leak (`leakage_settings`). Only training is ever cleaned; the evaluation set stays as it is.

A training pair gives a query away by its anchor, and for adjacent sentences by either sentence. A passage that merely
contains the words of a query is the corpus, which every model sees.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from domain_embed_pipeline.encoding.spec import Encoder
from domain_embed_pipeline.ids import digest_of_json, version_of
from domain_embed_pipeline.pairs.leakage_settings import LeakageSettings
from domain_embed_pipeline.pairs.paraphrases import ParaphraseIndex
from domain_embed_pipeline.pairs.query_overlap import OverlapIndex
from domain_embed_pipeline.pairs.records import Detector, DetectorCount, Leak, LeakageCertificate
from domain_embed_pipeline.pairs.shingles import comparison_key
from domain_embed_pipeline.records import EvaluationQuery, EvaluationSet, TrainingPair

logger = logging.getLogger(__name__)

DETECTORS: tuple[Detector, ...] = ("exact", "shingle", "embedding", "held_out_chunk")


def find_leaks(
    pairs: Sequence[TrainingPair],
    evaluation_set: EvaluationSet,
    *,
    settings: LeakageSettings | None = None,
    encoder: Encoder | None = None,
    held_out_chunks: frozenset[str] = frozenset(),
    chunk_clusters: Mapping[str, str] | None = None,
) -> tuple[Leak, ...]:
    """Every (pair, query) that a detector takes for the same, sorted; paraphrases only where there is an encoder.

    Args:
        pairs: What training would use.
        evaluation_set: Dev and test queries.
        settings: Thresholds.
        encoder: Encodes anchors and queries for the embedding detector.
        held_out_chunks: Chunks of held-out documents and their near duplicates; empty when nothing is held out.
        chunk_clusters: `chunk_id -> cluster id`, so that near duplicates of an answer count as the answer.
    """
    settings = settings or LeakageSettings()
    queries = evaluation_set.queries
    leaks = [
        Leak(pair.pair_id, "", "held_out_chunk", 1.0, pair.anchor, "")
        for pair in pairs
        if pair.chunk_id in held_out_chunks
    ]
    if queries and pairs:
        leaks += _exact(pairs, queries)
        leaks += _shingle(pairs, evaluation_set, settings, chunk_clusters or {})
        if encoder is not None:
            index = ParaphraseIndex(pairs, evaluation_set, encoder, settings, chunk_clusters or {})
            leaks += index.leaks(_pairs_by_text(pairs))
    return tuple(sorted(set(leaks), key=lambda leak: (leak.pair_id, leak.detector, leak.query_id)))


def certify(
    pairs: Sequence[TrainingPair],
    evaluation_set: EvaluationSet,
    leaks: Sequence[Leak],
    *,
    settings: LeakageSettings | None = None,
    encoder: Encoder | None = None,
) -> LeakageCertificate:
    """What was found among the candidates, what of it was removed, and what remains in `pairs`.

    Args:
        pairs: What training uses in the end: a part of what `find_leaks` looked at.
        evaluation_set: The one that `find_leaks` was given.
        leaks: From `find_leaks`.
        settings: The ones that `find_leaks` was given.
        encoder: The one that `find_leaks` was given.
    """
    settings = settings or LeakageSettings()
    kept_ids = {pair.pair_id for pair in pairs}
    counts = []
    for detector in DETECTORS:
        found = {leak.pair_id for leak in leaks if leak.detector == detector}
        remaining = len(found & kept_ids)
        ran = detector != "embedding" or encoder is not None
        counts.append(DetectorCount(detector, ran, len(found), len(found) - remaining, remaining))
    certificate = LeakageCertificate(
        pairs_version=version_of("pairs", kept_ids),
        evaluation_set_version=evaluation_set.evaluation_set_version,
        pair_count=len(kept_ids),
        query_count=len(evaluation_set.queries),
        detectors=tuple(counts),
        samples=tuple(_samples(leaks, settings)),
        encoder_fingerprint=encoder.spec.fingerprint if encoder else "",
        settings_digest=digest_of_json(asdict(settings))[:12],
        passed=all(count.remaining == 0 for count in counts),
        digest="",
    )
    return replace(certificate, digest=certificate_digest(certificate))


def certificate_digest(certificate: LeakageCertificate) -> str:
    """Digest of all fields but `digest`: tells a certificate that was edited."""
    fields = asdict(certificate)
    fields.pop("digest")
    return digest_of_json(fields)


def _exposed_texts(pair: TrainingPair) -> tuple[str, ...]:
    return (pair.anchor, pair.positive) if pair.source == "adjacent_sentence" else (pair.anchor,)


def _pairs_by_text(pairs: Sequence[TrainingPair]) -> dict[str, list[TrainingPair]]:
    by_text: dict[str, list[TrainingPair]] = defaultdict(list)
    for pair in pairs:
        for text in dict.fromkeys(_exposed_texts(pair)):
            by_text[text].append(pair)
    return by_text


def _exact(pairs: Sequence[TrainingPair], queries: Sequence[EvaluationQuery]) -> Iterator[Leak]:
    """Same text but for case, punctuation and spacing."""
    by_key: Mapping[str, list[EvaluationQuery]] = defaultdict(list)
    for query in queries:
        by_key[comparison_key(query.text)].append(query)
    for text, group in _pairs_by_text(pairs).items():
        for query in by_key.get(comparison_key(text), ()):
            yield from (Leak(pair.pair_id, query.query_id, "exact", 1.0, text, query.text) for pair in group)


def _shingle(
    pairs: Sequence[TrainingPair],
    evaluation_set: EvaluationSet,
    settings: LeakageSettings,
    chunk_clusters: Mapping[str, str],
) -> Iterator[Leak]:
    """Nearly the same words; with a word changed and another answer it is another question, no help in the test."""
    by_text = _pairs_by_text(pairs)
    index = OverlapIndex(evaluation_set.queries, list(by_text), settings)
    answers: dict[str, set[str]] = defaultdict(set)
    for row in evaluation_set.qrels:
        answers[row.query_id].add(chunk_clusters.get(row.chunk_id, row.chunk_id))
    for text, group in by_text.items():
        for query, share, is_unchanged in index.matches(text):
            # Where nobody knows the answer, any may be it.
            known = answers.get(query.query_id)
            for pair in group:
                if is_unchanged or not known or chunk_clusters.get(pair.chunk_id, pair.chunk_id) in known:
                    yield Leak(pair.pair_id, query.query_id, "shingle", round(share, 4), text, query.text)


def _samples(leaks: Sequence[Leak], settings: LeakageSettings) -> Iterator[Leak]:
    """Examples a detector, the least similar first: those are the ones to argue about."""
    taken: Counter[str] = Counter()
    for leak in sorted(leaks, key=lambda leak: (leak.similarity, leak.pair_id, leak.query_id)):
        if taken[leak.detector] < settings.samples_per_detector:
            taken[leak.detector] += 1
            yield leak
