"""The deployment as a resource: settings from the environment, with fields that a run may override."""

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.defs.step_process import end_with_parent_process
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.workspace import Workspace


class Deployment(dg.ConfigurableResource):
    """Where things live and whom to call: `DeploymentSettings` from the environment, with fields overridden here."""

    corpus_path: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_CORPUS_PATH.")
    queries_path: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_QUERIES_PATH.")
    user_pairs_path: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_USER_PAIRS_PATH.")
    use_train_qrels: bool | None = Field(default=None, description="Overrides DOMAIN_EMBED_USE_TRAIN_QRELS.")
    artifacts_path: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_ARTIFACTS_PATH.")
    local_path: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_LOCAL_PATH.")
    base_model: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_BASE_MODEL.")
    other_models: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_OTHER_MODELS.")
    reranker: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_RERANKER.")
    guard_sets: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_GUARD_SETS.")
    serving_alias: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_SERVING_ALIAS.")
    qdrant_url: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_QDRANT_URL.")
    drop_quiet_s: float | None = Field(default=None, description="Overrides DOMAIN_EMBED_DROP_QUIET_S.")
    anthropic_base_url: str | None = Field(default=None, description="Overrides DOMAIN_EMBED_ANTHROPIC_BASE_URL.")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Tie the step's process to the run's."""
        end_with_parent_process()

    @property
    def settings(self) -> DeploymentSettings:
        """The environment's settings with this resource's overrides."""
        overrides = {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}
        return DeploymentSettings(**overrides)

    @property
    def workspace(self) -> Workspace:
        """Stores of the deployment."""
        return Workspace(self.settings)
