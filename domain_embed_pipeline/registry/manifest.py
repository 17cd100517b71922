"""The manifest of a model version: what it is, what it was made from, and how training went.

What belongs here: the record and reading it. What does not: where it is kept (`storage`), finding versions
(`versions`), what a person reads (`model_card`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Literal

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.errors import RegistryError
from domain_embed_pipeline.registry.judgement import Judgement
from domain_embed_pipeline.registry.storage import FILES, MANIFEST
from domain_embed_pipeline.tables import from_plain

ModelKind = Literal["base", "stage_one", "stage_two", "blend"]
LIBRARIES = ("sentence-transformers", "transformers", "torch", "datasets", "numpy")


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """What was seen at one step of training: loss and learning rate, or dev retrieval."""

    step: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    dev_recall_at_5: float | None
    dev_ndcg_at_10: float | None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Manifest of a model version: what it is and what it was made from."""

    model_version: str
    kind: ModelKind
    encoder: EncoderSpec
    base_model: str
    parent_model_version: str | None
    """The version whose weights training started from; None for a base model."""
    weights_folder: str | None = None
    """Where the files are when not in the version's own folder (base models)."""
    corpus_version: str | None = None
    pairs_version: str | None = None
    evaluation_set_version: str | None = None
    certificate: dict[str, Any] = field(default_factory=dict)
    """The leakage certificate of the pairs it was trained on: what each detector found, what was removed, what is
    left."""
    row_count: int = 0
    """Training rows of the stage that made it."""
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the stage, and what the rule made of them."""
    dev_metrics: dict[str, float] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    duration_s: float = 0.0
    history: tuple[HistoryPoint, ...] = ()
    notes: tuple[str, ...] = ()
    """What was noticed in training, such as why it stopped early; each begins with a stable name and a colon."""
    judgement: Judgement | None = None
    """The last comparison with the base; the one thing that is written after the version was."""

    @property
    def made_from(self) -> tuple[str, ...]:
        """The versions whose weights went into it: its parent, what it was blended with, what it is the mean of."""
        blended = self.settings.get("blended_with")
        averaged = self.settings.get("averaged") or ()
        names = (self.parent_model_version, blended, *averaged)
        return tuple(dict.fromkeys(name for name in names if name is not None and name != self.model_version))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what training gives."""
    return {name: package_version(name) for name in LIBRARIES}


def manifest_from(text: str, place: Path | Location) -> ModelVersion:
    """The manifest that `text` is.

    Raises:
        RegistryError: If it is none that this version of the package reads; the message names `place`.
    """
    try:
        document = json.loads(text)
        document.pop(FILES, None)
        return from_plain(ModelVersion, document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(
            f"{place / MANIFEST} is not a manifest that this version of the package reads: {error}",
            fix=f"Use the version that wrote it, or remove the folder {place}.",
        ) from error
