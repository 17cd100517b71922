"""`rollback_alias_job`: the way back, from the UI."""

import dagster as dg

from domain_embed_pipeline.defs.config.serving import RollbackConfig
from domain_embed_pipeline.defs.metadata import serving as metadata
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.serving.going_back import go_back


@dg.op(pool="qdrant", out=dg.Out(dg.Nothing))
def rolled_back_alias(context: dg.OpExecutionContext, deployment: Deployment, config: RollbackConfig) -> None:
    """Point the alias at an earlier collection in one call, and show it on the page of `serving_alias`."""
    workspace = deployment.workspace
    with workspace.open_store() as store:
        swap = go_back(
            store,
            deployment.settings.serving_alias,
            config.to,
            reason=config.reason,
            lineage=workspace.lineage,
            lock_folder=workspace.locks,
        )
    context.log.info(f"{swap.alias} -> {swap.collection} ({swap.reason})")
    context.log_event(dg.AssetMaterialization("serving_alias", metadata=metadata.of_swap(swap, workspace.registry)))


@dg.job(
    description="Points the alias back at what was live before (or at a named model version or collection), in one "
    "call. Nothing is rebuilt. The reason is kept in the lineage.",
)
def rollback_alias_job() -> None:
    """One step."""
    rolled_back_alias()
