"""Metadata of the group `training_data`."""

from domain_embed_pipeline.defs.metadata.values import Metadata, counts_by, spread, table
from domain_embed_pipeline.pairs.evaluation_sets import minimum_detectable_effect
from domain_embed_pipeline.pairs.records import StructuralPairs, TrainingPairs
from domain_embed_pipeline.questions.generation import GeneratedQuestions
from domain_embed_pipeline.records import EvaluationSet


def of_questions(questions: GeneratedQuestions) -> Metadata:
    """Counts, money, refusals and samples."""
    return {
        "questions_version": questions.questions_version,
        "question_count": len(questions.questions),
        "chunk_count": questions.chunks,
        "answered_from_ledger": questions.answered_from_ledger,
        "asked": questions.asked,
        "refused": questions.refused,
        "unanswered": questions.unanswered,
        "input_tokens": questions.input_tokens,
        "output_tokens": questions.output_tokens,
        "cache_hits": questions.cache_hits,
        "cost_usd": float(questions.cost_usd),
        "ledger_cost_usd": float(questions.ledger_cost_usd),
        "cost_per_1000_questions_usd": float(questions.cost_per_1000_questions),
        "keep_rate": float(questions.keep_rate),
        "stopped_reason": questions.stopped_reason or "every chunk was asked about",
        "waits_for_batches": questions.waits_for_batches,
        "duration_s": float(questions.duration_s),
        "styles": table(counts_by(question.style for question in questions.questions)),
        "refusals": table(
            {"chunk": row.chunk_id, "document": row.document_id, "reason": row.reason, "detail": row.detail}
            for row in questions.refusals[:100]
        ),
        "sample_questions": table(
            {"style": question.style, "question": question.text, "chunk": question.chunk_id}
            for question in spread(questions.questions)
        ),
    }


def of_structural_pairs(pairs: StructuralPairs) -> Metadata:
    """Counts per source and samples."""
    return {
        "pair_count": len(pairs.pairs),
        "sources": table({"source": row.source, "kept": row.kept, "capped": row.rejected} for row in pairs.counts),
        "sample_pairs": table(
            {"source": pair.source, "anchor": pair.anchor, "positive": pair.positive} for pair in spread(pairs.pairs)
        ),
    }


def of_evaluation_set(queries: EvaluationSet) -> Metadata:
    """Sizes, what the sizes can show, lost queries and samples."""
    dev, test = queries.queries_of("dev"), queries.queries_of("test")
    texts = {query.query_id: query.text for query in queries.queries}
    return {
        "evaluation_set_version": queries.evaluation_set_version,
        "corpus_version": queries.corpus_version,
        "origin": queries.origin,
        "dev_query_count": len(dev),
        "test_query_count": len(test),
        "judgment_count": len(queries.qrels),
        "lost_query_count": len(queries.lost_queries),
        "minimum_detectable_effect": float(minimum_detectable_effect(len(test))) if test else 1.0,
        "lost_queries": table({"query": row.text, "why": row.detail} for row in queries.lost_queries[:50]),
        "sample_queries": table(
            {"query": texts[row.query_id], "relevant_chunk": row.chunk_id} for row in spread(queries.qrels)
        ),
    }


def of_training_pairs(pairs: TrainingPairs, questions_cost_usd: float) -> Metadata:
    """The mix, what was dropped and why, the leakage certificate, and what an accepted question pair cost."""
    certificate = pairs.certificate
    accepted = sum(row.kept for row in pairs.mix if row.source == "question")
    return {
        "pairs_version": pairs.pairs_version,
        "pair_count": len(pairs.pairs),
        "rejected_count": len(pairs.rejected),
        "cost_per_1000_accepted_pairs_usd": float(1000 * questions_cost_usd / accepted) if accepted else 0.0,
        "leakage_passed": certificate.passed,
        "leaks_removed": sum(row.removed for row in certificate.detectors),
        "leaks_remaining": sum(row.remaining for row in certificate.detectors),
        "mix": table(
            {"source": row.source, "candidates": row.candidates, "kept": row.kept, "share": row.share}
            for row in pairs.mix
        ),
        "drops": table({"reason": row.reason, "count": row.count} for row in pairs.drops),
        "dropped_samples": table(
            {"reason": row.reason, "detail": row.detail, "source": row.source, "anchor": row.anchor}
            for row in pairs.drop_samples()
        ),
        "leakage_certificate": table(
            {"detector": row.detector, "ran": row.ran, "found": row.found, "removed": row.removed,
             "remaining": row.remaining}
            for row in certificate.detectors
        ),
        "leak_samples": table(
            {"detector": leak.detector, "similarity": leak.similarity, "anchor": leak.anchor, "query": leak.query}
            for leak in certificate.samples
        ),
        "sample_pairs": table(
            {"source": pair.source, "style": pair.style, "anchor": pair.anchor, "positive": pair.positive}
            for pair in spread(pairs.pairs)
        ),
    }  # fmt: skip
