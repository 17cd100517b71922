"""Group `models`: stage one, hard negatives, and the candidate."""

import dagster as dg

from domain_embed_pipeline.defs.assets.corpus import OWNERS
from domain_embed_pipeline.defs.config.models import MiningConfig, StageOneConfig, StageTwoConfig
from domain_embed_pipeline.defs.metadata import models as metadata
from domain_embed_pipeline.defs.pipes import pipes_launcher
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.pairs.splits import cluster_of_chunks
from domain_embed_pipeline.records import Corpus, DocumentSplits, EvaluationSet
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.training.negatives import HardNegatives, mine_hard_negatives
from domain_embed_pipeline.training.settings import MINIMUM_PAIRS, TRAINING_VERSION
from domain_embed_pipeline.training.stages import (
    CandidateResult,
    TrainingInputs,
    choose_finetuned,
    train_stage_one,
    train_stage_two,
)

GROUP = "models"


@dg.asset(group_name=GROUP, kinds={"huggingface", "pytorch"}, pool="gpu", code_version=TRAINING_VERSION, owners=OWNERS)
def stage_one_model(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    config: StageOneConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
) -> dg.MaterializeResult[ModelVersion]:
    """The base model fine-tuned with in-batch negatives (MultipleNegativesRankingLoss).

    No two rows of a batch share an anchor or a near-duplicate passage. The checkpoint is chosen by retrieval on dev
    queries. A run that died goes on from its last checkpoint. With `start: live` it goes on from the model that
    serves, which then is the parent in the lineage.
    """
    inputs = _inputs(context, deployment, corpus_chunks, document_splits, training_pairs, evaluation_set)
    start = deployment.workspace.live_model() if config.start == "live" else None
    version = train_stage_one(inputs, training_pairs.pairs, settings=config.to_settings(), start=start)
    return dg.MaterializeResult(
        value=version, metadata=metadata.of_model(version), data_version=dg.DataVersion(version.model_version)
    )


@dg.asset(group_name=GROUP, kinds={"faiss", "parquet"}, pool="gpu", code_version="1", owners=OWNERS)
def hard_negatives(
    deployment: Deployment,
    config: MiningConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    stage_one_model: ModelVersion,
) -> dg.MaterializeResult[HardNegatives]:
    """Chunks that the stage-one model ranks near a question although they do not answer it.

    Known answers and their near-duplicates are left out, and whatever scores too close to the answer.
    """
    negatives = mine_hard_negatives(
        deployment.workspace.registry.encoder(stage_one_model.model_version),
        corpus_chunks,
        training_pairs.pairs,
        clusters=cluster_of_chunks(document_splits),
        settings=config.to_settings(),
    )
    return dg.MaterializeResult(
        value=negatives,
        metadata=metadata.of_negatives(negatives),
        data_version=dg.DataVersion(negatives.negatives_version),
    )


@dg.asset(group_name=GROUP, kinds={"huggingface", "pytorch"}, pool="gpu", code_version=TRAINING_VERSION, owners=OWNERS)
def finetuned_model(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    config: StageTwoConfig,
    corpus_chunks: Corpus,
    document_splits: DocumentSplits,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
    stage_one_model: ModelVersion,
    hard_negatives: HardNegatives,
) -> dg.MaterializeResult[CandidateResult]:
    """The candidate: base, stage one, stage two (trained on hard negatives) or a blend, chosen on dev.

    The simplest trained model within noise of the best wins, so a stage that hurts is dropped; the base stays where
    no trained model is above it.
    """
    inputs = _inputs(context, deployment, corpus_chunks, document_splits, training_pairs, evaluation_set)
    stages = [stage_one_model]
    if config.enabled and len(hard_negatives.negatives) >= MINIMUM_PAIRS:
        stages.append(train_stage_two(inputs, stage_one_model, hard_negatives, settings=config.to_settings()))
    candidate = choose_finetuned(inputs, stages, settings=config.to_candidate_settings())
    return dg.MaterializeResult(
        value=candidate,
        metadata=metadata.of_candidate(candidate, deployment.workspace.registry),
        data_version=dg.DataVersion(candidate.version.model_version),
    )


def _inputs(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    corpus: Corpus,
    splits: DocumentSplits,
    pairs: TrainingPairs,
    queries: EvaluationSet,
) -> TrainingInputs:
    workspace = deployment.workspace
    return TrainingInputs(
        registry=workspace.registry,
        base=workspace.base_model,
        corpus=corpus,
        evaluation_set=queries,
        clusters=cluster_of_chunks(splits),
        pairs_version=pairs.pairs_version,
        certificate=pairs.certificate.without_samples(),
        checkpoints=workspace.checkpoints,
        guards=workspace.load_guard_sets(),
        curves=workspace.tensorboard,
        launch=pipes_launcher(context),
    )
