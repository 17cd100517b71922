"""A deployment in a folder whose models are word encoders: registry, lineage, store and alias are real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.scenario import ALIAS, WordEncoder, chunks_of, plan_of

CHUNKS = chunks_of(20)
OLD, NEW = WordEncoder("model-old", seed=1), WordEncoder("model-new", seed=2)


def deployment_at(folder: Path) -> Deployment:
    return Deployment(artifacts_path=str(folder / "artifacts"), serving_alias=ALIAS)


def register(registry: ModelRegistry, encoder: WordEncoder, **facts: Any) -> ModelVersion:
    """A manifest for a word encoder."""
    version = encoder.spec.model_version
    named: dict[str, Any] = {"kind": "stage_one", "base_model": "words", "parent_model_version": None}
    return registry.save(ModelVersion(model_version=version, encoder=encoder.spec, **(named | facts)))


def go_live(deployment: Deployment, *encoders: WordEncoder) -> list[str]:
    """Each encoder's collection goes live in turn; returns their names."""
    workspace = deployment.workspace
    with workspace.open_store() as client:
        workplace = Workplace(workspace.qdrant, client, workspace.locks)
        return [workplace.go_live(plan_of(encoder, CHUNKS), CHUNKS, encoder).collection for encoder in encoders]
