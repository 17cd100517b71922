"""Publishing a model version on a model hub, for whoever wants it there. Nothing in the pipeline reads it back.

What belongs here: the upload. What does not: the card (`model_card`), whether a version is good enough.
"""

from __future__ import annotations

from domain_embed_pipeline.errors import ConfigurationError, RegistryError
from domain_embed_pipeline.registry.learned import FILE_NAME
from domain_embed_pipeline.registry.versions import ModelRegistry


def push_version(
    registry: ModelRegistry, model_version: str, repository: str, *, private: bool = True, endpoint: str | None = None
) -> str:
    """Upload a version's files and card as one commit; returns the commit's address.

    The list of documents that it learned from stays here: it names files of yours.

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

    if registry.manifest(model_version).kind == "base":
        raise RegistryError(f"{model_version} is a base model of others.", fix="Push a version that was trained here.")
    if constants.HF_HUB_OFFLINE:
        raise ConfigurationError("HF_HUB_OFFLINE is set, so no hub can be reached.", fix="Unset it for this command.")
    folder = registry.verified_folder(model_version)
    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            ignore_patterns=[FILE_NAME, ".*"],
            commit_message=f"Upload {model_version}",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RegistryError(
            f"{model_version} cannot be pushed to {repository}: {' '.join(str(error).split())[:300]}",
            fix="Check the name (organisation/name), the network and HF_TOKEN, which needs the right to write.",
        ) from error
    return str(commit.commit_url)
