"""Publishing a model version on a model hub, for whoever wants it there. Nothing in the pipeline reads it back.

What belongs here: the upload. What does not: the card (`model_card`), whether a version is good enough.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.errors import ConfigurationError, RegistryError
from domain_embed_pipeline.registry.learned import FILE_NAME
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.storage import MANIFEST, text_of
from domain_embed_pipeline.registry.versions import ModelRegistry

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


def push_version(
    registry: ModelRegistry, model_version: str, repository: str, *, private: bool = True, endpoint: str | None = None
) -> str:
    """Upload a version's files, card and manifest as one commit; returns the commit's address.

    The list of documents that it learned from stays here, as it names files of yours, and so do the certificate's
    examples, which quote questions.

    Args:
        registry: Where the version is.
        model_version: Which one.
        repository: `organisation/name` on the hub; made if it is not there.
        private: Whether a new repository is private.
        endpoint: Another hub that speaks the same protocol; by default what HF_ENDPOINT says.

    Raises:
        ModelVersionNotFoundError: If there is no such version.
        RegistryError: If it is a base model, or the hub refuses.
        ConfigurationError: If the hub is switched off by HF_HUB_OFFLINE.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    manifest = registry.manifest(model_version)
    if manifest.kind == "base":
        raise RegistryError(f"{model_version} is a base model of others.", fix="Push a version that was trained here.")
    if constants.HF_HUB_OFFLINE:
        raise ConfigurationError("HF_HUB_OFFLINE is set, so no hub can be reached.", fix="Unset it for this command.")
    uploads = _uploads(Path(registry.verified_folder(model_version)), manifest)
    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(repository, uploads, commit_message=f"Upload {model_version}")
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RegistryError(
            f"{model_version} cannot be pushed to {repository}: {' '.join(str(error).split())[:300]}",
            fix="Check the name (organisation/name), the network and HF_TOKEN, which needs the right to write.",
        ) from error
    return str(commit.commit_url)


def _uploads(folder: Path, manifest: ModelVersion) -> list[CommitOperationAdd]:
    """What may be published; the manifest as it is now, which lies elsewhere when the files are a bucket's copy."""
    from huggingface_hub import CommitOperationAdd

    own = (MANIFEST, FILE_NAME)
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    uploads = [
        CommitOperationAdd(name.as_posix(), path)
        for name, path in files.items()
        if name.as_posix() not in own and not name.parts[0].startswith(".")
    ]
    certificate = {name: value for name, value in manifest.certificate.items() if name != "samples"}
    public = dataclasses.asdict(dataclasses.replace(manifest, certificate=certificate))
    return [*uploads, CommitOperationAdd(MANIFEST, text_of(public).encode())]
