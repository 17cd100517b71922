"""The encoder applies its spec, whatever the model in memory is set to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from domain_embed_pipeline.encoding.sentence_transformer import (
    SentenceTransformerEncoder,
    describe_encoder,
    load_encoder,
    load_model,
)
from domain_embed_pipeline.encoding.spec import EncoderSpec

TEXTS = ["how is ask1 ask2", "tell3 is noted here", "tell4"]


@pytest.fixture(scope="module")
def spec(tiny_model: str) -> EncoderSpec:
    described = describe_encoder(
        load_model(tiny_model), tiny_model, model_version="tiny", query_prompt="", passage_prompt=""
    )
    return dataclasses.replace(described, dtype="float32")


def test_vectors_are_float32_of_unit_length(tiny_model: str, spec: EncoderSpec) -> None:
    vectors = load_encoder(tiny_model, spec).encode_queries(TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 32))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_nothing_in_nothing_out(tiny_model: str, spec: EncoderSpec) -> None:
    vectors = load_encoder(tiny_model, spec).encode_passages([])
    assert (vectors.dtype, vectors.shape) == (np.float32, (0, 32))


def test_prompts_go_before_the_texts_of_their_side(tiny_model: str, spec: EncoderSpec) -> None:
    prompted = load_encoder(tiny_model, dataclasses.replace(spec, query_prompt="how ", passage_prompt="noted "))
    plain = load_encoder(tiny_model, spec)
    assert np.allclose(
        prompted.encode_queries(TEXTS), plain.encode_queries([f"how {text}" for text in TEXTS]), atol=1e-6
    )
    assert np.allclose(
        prompted.encode_passages(TEXTS), plain.encode_passages([f"noted {text}" for text in TEXTS]), atol=1e-6
    )


def test_prompts_that_are_stored_with_the_model_are_not_added_to_the_specs(tiny_model: str, spec: EncoderSpec) -> None:
    model = load_model(tiny_model)
    model.prompts = {"query": "noted here ", "document": "noted here "}
    model.default_prompt_name = "query"
    vectors = SentenceTransformerEncoder(model, spec).encode_queries(TEXTS)
    assert np.allclose(vectors, load_encoder(tiny_model, spec).encode_queries(TEXTS), atol=1e-6)


def test_texts_are_cut_at_the_specs_length(tiny_model: str, spec: EncoderSpec) -> None:
    short = load_encoder(tiny_model, dataclasses.replace(spec, max_length=4))
    long_text = "tell1 tell2 tell3 tell4 tell5"
    assert np.allclose(short.encode_passages([long_text]), short.encode_passages(["tell1 tell2"]), atol=1e-6)


def test_a_vector_hardly_depends_on_the_texts_beside_it(tiny_model: str, spec: EncoderSpec) -> None:
    encoder = load_encoder(tiny_model, spec)
    together = encoder.encode_queries([*TEXTS, "a b c d e f " * 5] * 20)
    alone = np.concatenate([encoder.encode_queries([text]) for text in TEXTS])
    assert np.allclose(together[:3], alone, atol=1e-6)


def test_another_dtype_is_used_on_a_copy(tiny_model: str, spec: EncoderSpec) -> None:
    model = load_model(tiny_model)
    encoder = SentenceTransformerEncoder(model, dataclasses.replace(spec, dtype="bfloat16"))
    vectors = encoder.encode_queries(TEXTS)
    exact = load_encoder(tiny_model, spec).encode_queries(TEXTS)
    assert model.dtype == torch.float32
    assert vectors.dtype == np.float32
    assert 0 < np.abs(vectors - exact).max() < 0.05


def test_one_that_does_not_normalise_leaves_the_length(tiny_model: str, spec: EncoderSpec) -> None:
    model = load_model(tiny_model)
    del model[2]
    assert len(model) == 2
    raw = SentenceTransformerEncoder(model, dataclasses.replace(spec, normalize=False)).encode_queries(TEXTS)
    unit = SentenceTransformerEncoder(model, spec).encode_queries(TEXTS)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-2)
    assert np.allclose(unit, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_a_maximum_length_is_never_raised_above_the_models_own(tiny_model: str) -> None:
    assert load_model(tiny_model, max_length=512).max_seq_length == 64
    assert load_model(tiny_model, max_length=16).max_seq_length == 16


def test_the_arithmetic_of_this_machine_is_described(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain_embed_pipeline.encoding import hardware

    monkeypatch.setattr(hardware, "cpu_has_bfloat16", lambda: False)
    described = describe_encoder(
        load_model(tiny_model), tiny_model, model_version="tiny", query_prompt="q", passage_prompt="p"
    )
    assert (described.dtype, described.dimension, described.max_length) == ("float32", 32, 64)


def test_memory_that_runs_out_while_encoding_halves_the_batch(tiny_model: str, spec: EncoderSpec) -> None:
    model = load_model(tiny_model)
    sizes: list[int] = []

    def allocate(module: object, arguments: tuple[dict, ...]) -> None:
        sizes.append(len(arguments[0]["input_ids"]))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model[0].register_forward_pre_hook(allocate)
    vectors = SentenceTransformerEncoder(model, spec).encode_queries([f"ask{number}" for number in range(30)])
    assert max(size for size in sizes if size <= 5) >= 3
    assert np.allclose(
        vectors, load_encoder(tiny_model, spec).encode_queries([f"ask{number}" for number in range(30)]), atol=1e-6
    )


def test_remote_code_is_not_run(tiny_model: str, tmp_path: Path) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')\nclass Evil: pass\n", encoding="utf-8")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[2]["type"] = "evil.Evil"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(Exception, match="trust_remote_code"):
        load_model(str(folder))
    assert not (tmp_path / "was here").exists()
