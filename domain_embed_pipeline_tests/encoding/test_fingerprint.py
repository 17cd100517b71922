"""A fingerprint changes with everything that changes vectors, and with nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.encoding.spec import EncoderSpec
from domain_embed_pipeline_tests.tiny_model import change_weights

SPEC = EncoderSpec("model-1", "", 32, 64, "", "", True, "float32")


@pytest.fixture
def folder(tiny_model: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 16},
        {"max_length": 32},
        {"query_prompt": "query: "},
        {"passage_prompt": "passage: "},
        {"normalize": False},
        {"dtype": "bfloat16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_spec_counts(change: dict[str, Any]) -> None:
    other = dataclasses.replace(SPEC, **change)
    assert fingerprinted(SPEC, weights="w").fingerprint != fingerprinted(other, weights="w").fingerprint


def test_prompts_are_not_interchangeable() -> None:
    one, other = dataclasses.replace(SPEC, query_prompt="x"), dataclasses.replace(SPEC, passage_prompt="x")
    assert fingerprinted(one, weights="w").fingerprint != fingerprinted(other, weights="w").fingerprint


def test_the_name_of_the_version_does_not_count() -> None:
    renamed = dataclasses.replace(SPEC, model_version="model-2", fingerprint="old")
    assert fingerprinted(SPEC, weights="w").fingerprint == fingerprinted(renamed, weights="w").fingerprint


def test_weights_tokenizer_and_pooling_count(folder: Path) -> None:
    digests = [folder_digest(str(folder))]
    change_weights(folder)
    digests.append(folder_digest(str(folder)))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(
        tokenizer.read_text(encoding="utf-8").replace('"lowercase": true', '"lowercase": false'), "utf-8"
    )
    digests.append(folder_digest(str(folder)))
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text(encoding="utf-8")) | {"pooling_mode": "cls"}), "utf-8")
    digests.append(folder_digest(str(folder)))
    assert len(set(digests)) == 4


def test_card_manifest_place_and_hidden_files_do_not_count(folder: Path, tmp_path: Path) -> None:
    before = folder_digest(str(folder))
    (folder / "README.md").write_text("other", encoding="utf-8")
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    (folder / ".gitattributes").write_text("x", encoding="utf-8")
    assert folder_digest(str(folder)) == before == folder_digest(str(shutil.copytree(folder, tmp_path / "elsewhere")))
