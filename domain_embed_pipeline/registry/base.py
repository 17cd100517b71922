"""The base model as the first version of every lineage."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from domain_embed_pipeline.encoding.base_models import BaseModel, resolve_base_model
from domain_embed_pipeline.encoding.fingerprint import folder_digest
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.registry.manifest import ModelVersion, library_versions
from domain_embed_pipeline.registry.versions import ModelRegistry


def base_model_version(base: BaseModel, max_length: int | None = None) -> str:
    """Version id of a base model: its name and a digest of its files, prompts and maximum length."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", base.name).strip("-").lower()
    content = digest_of(folder_digest(base.folder), base.query_prompt, base.passage_prompt, str(max_length))
    return f"base-{slug}-{content[:8]}"


def register_base_model(registry: ModelRegistry, name: str, *, max_length: int | None = None) -> ModelVersion:
    """Find a base model and give it a manifest; a base model that is known already is not loaded again.

    Raises:
        BaseModelNotFoundError: If neither folder, package nor hub has it.
    """
    base = resolve_base_model(name)
    version = base_model_version(base, max_length)
    if registry.has(version):
        return registry.manifest(version)
    from domain_embed_pipeline.encoding.sentence_transformer import describe_encoder, load_model

    model = load_model(base.folder, max_length=max_length)
    spec = describe_encoder(
        model,
        base.folder,
        model_version=version,
        query_prompt=base.query_prompt,
        passage_prompt=base.passage_prompt,
    )
    manifest = ModelVersion(
        model_version=version,
        kind="base",
        encoder=spec,
        base_model=base.name,
        parent_model_version=None,
        weights_folder=base.folder,
        libraries=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return registry.save(manifest)
