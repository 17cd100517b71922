"""Group `serving`: the collection built beside the live one, and the alias that readers query."""

from datetime import timedelta

import dagster as dg

from domain_embed_pipeline.defs.assets.corpus import OWNERS
from domain_embed_pipeline.defs.config.serving import CollectionConfig, PromotionConfig
from domain_embed_pipeline.defs.metadata import serving as metadata
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.defs.retries import tried_again_later
from domain_embed_pipeline.drops.releasing import release_caught_up
from domain_embed_pipeline.encoding.expansion import expand_corpus
from domain_embed_pipeline.evaluation.records import Comparison, Evaluation
from domain_embed_pipeline.pairs.records import TrainingPairs
from domain_embed_pipeline.records import Corpus, EvaluationSet
from domain_embed_pipeline.serving.live import ServingEvaluation
from domain_embed_pipeline.serving.promotion import decision_to_serve
from domain_embed_pipeline.serving.records import AliasSwap, ServingCollection
from domain_embed_pipeline.serving.release import build_verified_collection

GROUP = "serving"


@dg.asset(group_name=GROUP, kinds={"qdrant"}, pool="qdrant", code_version="1", owners=OWNERS, deps=["model_comparison"])
def serving_collection(
    deployment: Deployment,
    config: CollectionConfig,
    corpus_chunks: Corpus,
    training_pairs: TrainingPairs,
    evaluation_set: EvaluationSet,
    finetuned_evaluation: Evaluation,
    expanded_baseline_evaluation: Evaluation,
    serving_evaluation: ServingEvaluation,
) -> dg.MaterializeResult[ServingCollection]:
    """The whole corpus, encoded by the candidate, in a collection of its own beside the live one.

    It is verified before anybody may be sent to it: ids, configuration, vectors, and the Recall@k that FAISS gave.
    With `model: live` (`reindex_job`) it is the live model's index for the corpus as it is now, with `model: base`
    (`serve_base_job`) that of the base model.
    """
    workspace = deployment.workspace
    match config.model:
        case "candidate":
            evaluation = finetuned_evaluation
        case "live":
            evaluation = serving_evaluation.require_live()
        case "base":
            evaluation = expanded_baseline_evaluation
    with tried_again_later(), workspace.open_store() as store:
        collection = build_verified_collection(
            store,
            deployment.settings.serving_alias,
            corpus=expand_corpus(corpus_chunks, training_pairs.pairs, evaluation_set),
            evaluation=evaluation,
            encoder=workspace.registry.encoder(evaluation.model_version),
            settings=workspace.build_settings,
        )
    return dg.MaterializeResult(
        value=collection,
        metadata=metadata.of_collection(collection),
        data_version=dg.DataVersion(collection.collection),
    )


@dg.asset(
    group_name=GROUP,
    kinds={"qdrant"},
    pool="qdrant",
    code_version="1",
    owners=OWNERS,
    freshness_policy=dg.FreshnessPolicy.time_window(warn_window=timedelta(days=60), fail_window=timedelta(days=180)),
)
def serving_alias(
    deployment: Deployment,
    config: PromotionConfig,
    serving_collection: ServingCollection,
    serving_evaluation: ServingEvaluation,
    model_comparison: Comparison,
) -> dg.MaterializeResult[AliasSwap]:
    """The alias that readers query, moved in one call, if and only if the verdict and the certificate pass.

    The verdict is read here once more; none is needed where only the index of the live model is new, or where the base
    model is the first to serve. The swap is refused when somebody else moved the alias since the comparison.
    Documents that came, changed or went during the build are brought in before and after it.
    """
    decision = decision_to_serve(
        serving_collection,
        live=serving_evaluation,
        comparison=model_comparison,
        override_reason=config.override_reason,
    )
    release = release_caught_up(
        deployment.workspace,
        serving_collection,
        decision=decision,
        expected_current=serving_evaluation.collection,
        keep_previous=config.keep_previous,
    )
    return dg.MaterializeResult(
        value=release.swap,
        metadata=metadata.of_release(release, deployment.workspace.registry),
        data_version=dg.DataVersion(release.swap.collection),
    )
