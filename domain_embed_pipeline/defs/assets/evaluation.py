"""Group `evaluation`: base, live and candidate on the test queries, and the verdict."""

import dagster as dg

from domain_embed_pipeline.alternatives.advising import Surroundings, advise
from domain_embed_pipeline.alternatives.measuring import AlternativeInputs, MeasuredAlternatives, measure_alternatives
from domain_embed_pipeline.defs.assets.corpus import OWNERS
from domain_embed_pipeline.defs.config.evaluation import ComparisonConfig
from domain_embed_pipeline.defs.metadata import evaluation as metadata
from domain_embed_pipeline.defs.report import JudgedRun, report_of, write_comparison_report
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.retries import tried_again_later
from domain_embed_pipeline.encoding.expansion import expand_corpus
from domain_embed_pipeline.evaluation.comparison import CertificateOutcome, References, compare
from domain_embed_pipeline.evaluation.evaluate import clusters_of_chunks, evaluate_model
from domain_embed_pipeline.evaluation.records import Comparison, Evaluation
from domain_embed_pipeline.evaluation.slices import make_slices
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.questions.generation import GeneratedQuestions
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet
from domain_embed_pipeline.serving.judgement import judgement_of
from domain_embed_pipeline.serving.live import ServingEvaluation, evaluate_serving
from domain_embed_pipeline.training.stages import CandidateResult

GROUP = "evaluation"


@dg.asset(group_name=GROUP, kinds={"faiss", "parquet"}, pool="gpu", code_version="1", owners=OWNERS)
def baseline_evaluation(
    deployment: Deployment, corpus_chunks: Corpus, document_splits: DocumentSplits, evaluation_set: EvaluationSet
) -> dg.MaterializeResult[Evaluation]:
    """The base model on the test queries, over the whole corpus as it is, in its own best retrieval mode."""
    version = deployment.workspace.base_model.model_version
    return _evaluated(version, deployment, corpus_chunks, document_splits, evaluation_set)


@dg.asset(group_name=GROUP, kinds={"faiss", "parquet"}, pool="gpu", code_version="1", owners=OWNERS)
def expanded_baseline_evaluation(
    deployment: Deployment,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
) -> dg.MaterializeResult[Evaluation]:
    """The base model over chunks expanded by their questions: what the questions bring without any training."""
    version = deployment.workspace.base_model.model_version
    corpus = expand_corpus(corpus_chunks, training_pairs.pairs, evaluation_set)
    return _evaluated(version, deployment, corpus, document_splits, evaluation_set)


@dg.asset(group_name=GROUP, kinds={"faiss", "parquet"}, pool="gpu", code_version="1", owners=OWNERS)
def finetuned_evaluation(
    deployment: Deployment,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
    finetuned_model: CandidateResult,
) -> dg.MaterializeResult[Evaluation]:
    """The candidate on the same test queries, in the retrieval mode that would be served (chosen on dev)."""
    version = finetuned_model.version.model_version
    corpus = expand_corpus(corpus_chunks, training_pairs.pairs, evaluation_set)
    return _evaluated(version, deployment, corpus, document_splits, evaluation_set)


@dg.asset(group_name=GROUP, kinds={"faiss", "qdrant"}, pool="gpu", code_version="1", owners=OWNERS)
def serving_evaluation(
    deployment: Deployment,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
) -> dg.MaterializeResult[ServingEvaluation]:
    """What is live behind the alias now, on the same test queries; empty before the first swap."""
    workspace = deployment.workspace
    with tried_again_later():
        serving = evaluate_serving(
            workspace.qdrant,
            deployment.settings.serving_alias,
            registry=workspace.registry,
            corpus=expand_corpus(corpus_chunks, training_pairs.pairs, evaluation_set),
            evaluation_set=evaluation_set,
            clusters=clusters_of_chunks(corpus_chunks, document_splits),
        )
    return dg.MaterializeResult(value=serving, metadata=metadata.of_serving_evaluation(serving))


@dg.asset(group_name=GROUP, kinds={"faiss", "parquet"}, pool="gpu", code_version="1", owners=OWNERS)
def alternatives(
    deployment: Deployment,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    evaluation_set: EvaluationSet,
    baseline_evaluation: Evaluation,
) -> dg.MaterializeResult[MeasuredAlternatives]:
    """What one could serve instead of a fine-tuned model: BM25, other models, a reranker, managed APIs.

    BM25 is always measured, the others when they are named (DOMAIN_EMBED_OTHER_MODELS, DOMAIN_EMBED_RERANKER). One that
    cannot be measured is listed with its reason and the run goes on.
    """
    workspace = deployment.workspace
    measured = measure_alternatives(
        AlternativeInputs(
            registry=workspace.registry,
            base=baseline_evaluation,
            corpus=corpus_chunks,
            evaluation_set=evaluation_set,
            clusters=clusters_of_chunks(corpus_chunks, document_splits),
            latencies=workspace.latencies,
            settings=workspace.alternative_settings,
        )
    )
    return dg.MaterializeResult(value=measured, metadata=metadata.of_alternatives(measured))


@dg.asset(group_name=GROUP, kinds={"scipy"}, code_version="1", owners=OWNERS)
def model_comparison(
    deployment: Deployment,
    config: ComparisonConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    evaluation_set: EvaluationSet,
    generated_questions: GeneratedQuestions,
    training_pairs: TrainingPairs,
    finetuned_model: CandidateResult,
    baseline_evaluation: Evaluation,
    expanded_baseline_evaluation: Evaluation,
    serving_evaluation: ServingEvaluation,
    finetuned_evaluation: Evaluation,
    alternatives: MeasuredAlternatives,
) -> dg.MaterializeResult[Comparison]:
    """The verdict `better`, `not_shown` or `worse`, from paired per-query differences with intervals.

    Judged is what would be served, against the best the base model could give and against what is live. Questions in
    the index must not hide a model that got worse: it is compared with the base model over the same chunks, too.
    General ability (guard sets) and the alternatives with their price stand beside the verdict and do not change it.
    """
    workspace = deployment.workspace
    certificate = training_pairs.certificate
    references = References(
        base=baseline_evaluation,
        expanded_base=expanded_baseline_evaluation,
        serving=serving_evaluation.to_beat(finetuned_evaluation),
    )
    comparison = compare(
        finetuned_evaluation,
        references,
        certificate=CertificateOutcome(certificate.digest, certificate.passed),
        slices=make_slices(corpus_chunks, evaluation_set, "test"),
        settings=config.to_settings(),
    )
    workspace.registry.judge(comparison.candidate_model_version, judgement_of(comparison))
    around = Surroundings(
        registry=workspace.registry,
        measured=alternatives,
        guards=workspace.load_guard_sets(),
        workload=workspace.workload(corpus_chunks),
        latencies=workspace.latencies,
    )
    comparison = advise(comparison, baseline_evaluation, finetuned_evaluation, around)
    judged = JudgedRun(
        corpus=corpus_chunks,
        candidate=finetuned_evaluation,
        references=references,
        chosen=finetuned_model,
        certificate=certificate,
        questions=generated_questions,
        alternatives=alternatives,
    )
    report = write_comparison_report(workspace, comparison, judged)
    previous = report_of(workspace, serving_evaluation.evaluation)
    return dg.MaterializeResult(
        value=comparison, metadata=metadata.of_comparison(comparison, report, previous_report=previous)
    )


def _evaluated(
    model_version: str, deployment: Deployment, corpus: Corpus, splits: DocumentSplits, queries: EvaluationSet
) -> dg.MaterializeResult[Evaluation]:
    registry = deployment.workspace.registry
    evaluation = evaluate_model(
        registry.encoder(model_version),
        corpus=corpus,
        evaluation_set=queries,
        split="test",
        clusters=clusters_of_chunks(corpus, splits),
    )
    parent = registry.manifest(model_version).parent_model_version
    return dg.MaterializeResult(value=evaluation, metadata=metadata.of_evaluation(evaluation, parent))
