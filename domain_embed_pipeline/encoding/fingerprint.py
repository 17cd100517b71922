"""Fingerprints of encoders: a digest of everything that decides what vector a text gets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from domain_embed_pipeline.encoding.base_models import file_sha256
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline.ids import digest_of_json

_IGNORED = {"README.md", "manifest.json", ".gitattributes"}


def folder_digest(folder: str) -> str:
    """Digest of a model folder: weights, tokenizer, configuration; the model card and our manifest left out."""
    root = Path(folder)
    files = {
        path.relative_to(root).as_posix(): file_sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in _IGNORED and path.suffix in (".safetensors", ".json", ".txt", ".model")
    }
    return digest_of_json(files)


def fingerprinted(spec: EncoderSpec, *, weights: str) -> EncoderSpec:
    """The spec with its fingerprint (16 hex digits) over itself and the digest of the model's folder."""
    content = dataclasses.asdict(spec) | {"weights": weights}
    del content["model_version"], content["fingerprint"]
    return dataclasses.replace(spec, fingerprint=digest_of_json(content)[:16])
