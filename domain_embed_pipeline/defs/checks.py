"""Asset checks. The blocking ones stop a run before anything worse than the present could go live."""

from collections import defaultdict

import dagster as dg

from domain_embed_pipeline.evaluation.records import Comparison
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.pairs.splits import cluster_of_chunks
from domain_embed_pipeline.questions.generation import GeneratedQuestions
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet
from domain_embed_pipeline.serving.records import ServingCollection
from domain_embed_pipeline.training.negatives import HardNegatives

QUARANTINE_WARNING_SHARE = 0.05


@dg.asset_check(asset="corpus_chunks")
def few_documents_in_quarantine(corpus_chunks: Corpus) -> dg.AssetCheckResult:
    """Warns when more than one file in twenty could not be read."""
    total = len(corpus_chunks.documents) + len(corpus_chunks.quarantine)
    share = len(corpus_chunks.quarantine) / total
    return dg.AssetCheckResult(
        passed=share <= QUARANTINE_WARNING_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(corpus_chunks.quarantine)} of {total} files are in quarantine; see corpus_chunks.",
        metadata={"quarantine_share": float(share)},
    )


@dg.asset_check(asset="document_splits", blocking=True)
def no_cluster_on_two_sides(document_splits: DocumentSplits) -> dg.AssetCheckResult:
    """Near-duplicate documents are never divided between training and evaluation."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in document_splits.documents:
        sides[row.cluster_id].add(row.split)
    divided = sorted(cluster for cluster, found in sides.items() if len(found) > 1)
    return dg.AssetCheckResult(
        passed=not divided,
        description=f"{len(divided)} of {len(sides)} clusters are on two sides{': ' if divided else '.'}{divided[:3]}",
        metadata={"divided_clusters": len(divided)},
    )


@dg.asset_check(asset="generated_questions", blocking=True)
def no_batch_is_under_way(generated_questions: GeneratedQuestions) -> dg.AssetCheckResult:
    """Nothing is trained on half of the questions; `question_batches_sensor` goes on when all are there."""
    waits = generated_questions.waits_for_batches
    return dg.AssetCheckResult(
        passed=not waits,
        description=f"{generated_questions.unanswered} chunks wait for their answers: "
        f"{generated_questions.stopped_reason}" if waits else "Every batch is collected.",
        metadata={"unanswered": generated_questions.unanswered},
    )  # fmt: skip


@dg.asset_check(asset="evaluation_set")
def enough_test_queries(evaluation_set: EvaluationSet) -> dg.AssetCheckResult:
    """Warns under 100 test queries: only large gains can be shown with so few."""
    count = len(evaluation_set.queries_of("test"))
    return dg.AssetCheckResult(
        passed=count >= 100,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{count} test queries, {len(evaluation_set.lost_queries)} lost.",
        metadata={"test_query_count": count},
    )


@dg.asset_check(asset="training_pairs", blocking=True)
def leakage_certificate_passes(training_pairs: TrainingPairs) -> dg.AssetCheckResult:
    """No training pair gives away an evaluation query."""
    certificate = training_pairs.certificate
    remaining = {row.detector: row.remaining for row in certificate.detectors if row.remaining}
    removed = sum(row.removed for row in certificate.detectors)
    return dg.AssetCheckResult(
        passed=certificate.passed,
        description=f"{removed} leaking pairs were removed; remaining: {remaining or 'none'}.",
        metadata={"certificate_digest": certificate.digest, "leaks_removed": removed},
    )


@dg.asset_check(asset="hard_negatives", blocking=True, additional_ins={"splits": dg.AssetIn("document_splits")})
def no_negative_is_a_known_positive(hard_negatives: HardNegatives, splits: DocumentSplits) -> dg.AssetCheckResult:
    """No mined negative is in the near-duplicate cluster of one of its anchor's answers."""
    cluster_of = cluster_of_chunks(splits)
    answers: dict[str, set[str]] = defaultdict(set)
    for row in hard_negatives.negatives:
        answers[row.anchor].add(cluster_of.get(row.chunk_id, row.chunk_id))
    wrong = [
        row.anchor
        for row in hard_negatives.negatives
        if cluster_of.get(row.negative_chunk_id, row.negative_chunk_id) in answers[row.anchor]
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        description=f"{len(wrong)} of {len(hard_negatives.negatives)} negatives answer their anchor. {wrong[:3]}",
        metadata={"false_negatives": len(wrong)},
    )


@dg.asset_check(asset="model_comparison", blocking=True)
def candidate_is_better(model_comparison: Comparison) -> dg.AssetCheckResult:
    """Only a candidate that is shown to be better goes on to be indexed and served."""
    return dg.AssetCheckResult(
        passed=model_comparison.verdict == "better",
        description=f"{model_comparison.verdict}: {model_comparison.reason}",
        metadata={"verdict": model_comparison.verdict, "query_count": model_comparison.query_count},
    )


@dg.asset_check(asset="serving_collection", blocking=True)
def collection_is_verified(serving_collection: ServingCollection) -> dg.AssetCheckResult:
    """The new collection holds exactly the corpus and gives the Recall@k that was measured."""
    failed = [check.name for check in serving_collection.checks if not check.passed]
    return dg.AssetCheckResult(
        passed=serving_collection.verified and not failed,
        description=f"{len(serving_collection.checks)} checks, failed: {failed or 'none'}.",
        metadata={"point_count": serving_collection.point_count},
    )


ALL_CHECKS = [
    few_documents_in_quarantine,
    no_cluster_on_two_sides,
    no_batch_is_under_way,
    enough_test_queries,
    leakage_certificate_passes,
    no_negative_is_a_known_positive,
    candidate_is_better,
    collection_is_verified,
]
