"""Curves of a training for TensorBoard, by setting; the asset page has them without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domain_embed_pipeline.errors import MissingDependencyError


def tensorboard_callback(folder: Path) -> Any:
    """The callback of transformers, which writes what the trainer logs as event files into `folder`.

    Raises:
        MissingDependencyError: If the package tensorboard is not installed.
    """
    from transformers.integrations.integration_utils import TensorBoardCallback

    try:
        callback = TensorBoardCallback()
    except RuntimeError as error:
        raise MissingDependencyError(
            "DOMAIN_EMBED_TENSORBOARD_PATH is set, and the package tensorboard is not installed.",
            fix='pip install "domain-embed-pipeline[tensorboard]", or leave the setting empty.',
        ) from error
    callback.logging_dir = str(folder)
    return callback
