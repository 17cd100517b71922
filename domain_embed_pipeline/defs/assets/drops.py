"""Group `serving`, between two trainings: the documents that came since, served by the live model, and what they mean.

Made by `index_new_documents_job` alone. A training does not need them: it reads the documents itself.
"""

import dagster as dg

from domain_embed_pipeline.defs.assets.corpus import OWNERS
from domain_embed_pipeline.defs.assets.serving import GROUP
from domain_embed_pipeline.defs.config.drops import IndexingConfig, RetrainDecisionConfig
from domain_embed_pipeline.defs.jobs import TRAINS
from domain_embed_pipeline.defs.metadata import drops as metadata
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.drops.decision import RetrainDecision, decide
from domain_embed_pipeline.drops.indexing import ServedDocuments, index_new_documents
from domain_embed_pipeline.drops.novelty import measure_novelty

DECISION_TAG = "domain_embed/decision"
REASON_TAG = "domain_embed/decision_reason"


@dg.asset(
    group_name=GROUP,
    kinds={"qdrant"},
    pool="qdrant",
    code_version="1",
    owners=OWNERS,
    deps=["serving_alias"],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL),
)
def served_documents(deployment: Deployment, config: IndexingConfig) -> dg.MaterializeResult[ServedDocuments]:
    """The live collection, brought up to the documents as they are now by the live model; no training.

    Only chunks that it lacks are encoded, and chunks of deleted documents go. Documents are cut as those were that the
    collection was built from. When nothing is live yet this says so and does nothing. Doing it twice does no harm, so
    a failure is tried again.
    """
    workspace = deployment.workspace
    served = index_new_documents(
        workspace,
        before=workspace.stored(ServedDocuments, "served_documents"),
        most_deleted_share=config.most_deleted_share,
    )
    return dg.MaterializeResult(value=served, metadata=metadata.of_served_documents(served))


@dg.asset(group_name=GROUP, kinds={"python"}, code_version="1", owners=OWNERS)
def retrain_decision(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    config: RetrainDecisionConfig,
    served_documents: ServedDocuments,
) -> dg.MaterializeResult[RetrainDecision]:
    """Index only, or retrain: what came since the last training, measured, judged and written down.

    Measured are new chunks, new near-duplicate clusters, new words, and the live model's Recall@5 on questions from
    new chunks when the ledger has any. The decision stands in this table and in the tags of its run;
    `retrain_sensor` acts on it.
    """
    training = dg.RunsFilter(tags=TRAINS, statuses=[dg.DagsterRunStatus.STARTED])
    is_training = bool(context.instance.get_runs(training, limit=1))
    novelty = measure_novelty(deployment.workspace, served_documents, is_training=is_training)
    decision = decide(novelty, settings=config.to_settings())
    context.instance.add_run_tags(context.run.run_id, {DECISION_TAG: decision.action, REASON_TAG: decision.reason})
    return dg.MaterializeResult(value=decision, metadata=metadata.of_decision(decision))
