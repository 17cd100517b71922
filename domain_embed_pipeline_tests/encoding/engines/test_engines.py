"""One contract for every engine: the same vectors for the same texts, in their order."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from domain_embed_pipeline.encoding.engines.choosing import SizedEncoder, load_with_engine
from domain_embed_pipeline.encoding.engines.devices import DevicesEncoder
from domain_embed_pipeline.encoding.engines.ray_data import RayEncoder, check_resources, encode_parquet, within
from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec
from domain_embed_pipeline.errors import EncodingEngineError
from domain_embed_pipeline_tests.training.scenario import encoder_of

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
TEXTS = [f"tell{number % 30} tell{(number * 7) % 30} " + "noted here " * (number % 9) for number in range(300)]
RAY = EngineSettings(engine="ray", actors=2, cpus_per_actor=0.5, timeout_s=240, smallest_call=0)


@pytest.fixture(scope="module")
def spec(tiny_model: str) -> EncoderSpec:
    return encoder_of(tiny_model, query_prompt="how ").spec


@pytest.fixture
def ray_ends() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


def _process(folder: str, spec: EncoderSpec) -> Encoder:
    return load_with_engine(folder, spec, EngineSettings())


def _devices(folder: str, spec: EncoderSpec) -> Encoder:
    return DevicesEncoder(folder, spec, EngineSettings(engine="devices", devices=("cpu", "cpu")))


def _ray(folder: str, spec: EncoderSpec) -> Encoder:
    return RayEncoder(folder, spec, RAY)


def check_contract(make: Callable[[str, EncoderSpec], Encoder], folder: str, spec: EncoderSpec) -> None:
    """What every engine must do."""
    reference, engine = encoder_of(folder, query_prompt="how "), make(folder, spec)
    for method in ("encode_passages", "encode_queries"):
        vectors, expected = getattr(engine, method)(TEXTS), getattr(reference, method)(TEXTS)
        assert (vectors.dtype, vectors.shape) == (np.float32, (300, 32))
        assert np.abs(vectors - expected).max() < 1e-5
    assert engine.encode_queries([]).shape == (0, 32)
    assert engine.spec == spec


def test_this_process_keeps_the_contract(tiny_model: str, spec: EncoderSpec) -> None:
    check_contract(_process, tiny_model, spec)


@pytest.mark.slow
def test_several_devices_keep_the_contract(tiny_model: str, spec: EncoderSpec) -> None:
    check_contract(_devices, tiny_model, spec)


@needs_ray
def test_ray_keeps_the_contract_and_reads_and_writes_parquet(
    tiny_model: str, spec: EncoderSpec, tmp_path: Path, ray_ends: None
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_contract(_ray, tiny_model, spec)
    pq.write_table(pa.table({"chunk_id": [f"c{n}" for n in range(300)], "text": TEXTS}), tmp_path / "chunks.parquet")
    encode_parquet(str(tmp_path / "chunks.parquet"), str(tmp_path / "out"), tiny_model, spec, RAY)
    rows = pq.read_table(tmp_path / "out").sort_by("chunk_id").to_pydict()
    expected = dict(zip((f"c{n}" for n in range(300)), encoder_of(tiny_model).encode_passages(TEXTS), strict=True))
    assert sorted(rows["chunk_id"]) == sorted(expected)
    for chunk_id, vector in zip(rows["chunk_id"], rows["vector"], strict=True):
        assert np.abs(np.array(vector) - expected[chunk_id]).max() < 1e-5


def test_actors_that_leave_no_cpu_to_read_with_are_refused_before_anything_hangs() -> None:
    with pytest.raises(EncodingEngineError, match=r"3 CPU wanted, 2 there.*wait for ever.*fewer actors"):
        check_resources({"CPU": 2.0}, EngineSettings(engine="ray", actors=2, cpus_per_actor=1.0))
    with pytest.raises(EncodingEngineError, match="2 GPU wanted, 1 there"):
        check_resources({"CPU": 8.0, "GPU": 1.0}, EngineSettings(engine="ray", actors=2, gpus_per_actor=1.0))
    check_resources({"CPU": 2.0}, RAY)


def test_a_run_that_is_not_done_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from domain_embed_pipeline.encoding.engines import ray_data

    ended: list[bool] = []
    monkeypatch.setattr(ray_data, "_disconnect", lambda: ended.append(True))
    never = threading.Event()
    with pytest.raises(EncodingEngineError, match=r"not done after 0\.05 s"):
        within(0.05, lambda: never.wait(20))
    never.set()
    assert ended == [True]
    assert within(20, lambda: 7) == 7


def test_what_fails_on_ray_is_told() -> None:
    def fail() -> None:
        raise ValueError("the actor died")

    with pytest.raises(EncodingEngineError, match="the actor died"):
        within(20, fail)


def test_a_small_call_starts_no_workers(tiny_model: str, spec: EncoderSpec) -> None:
    made: list[str] = []

    def make(size: str) -> Encoder:
        made.append(size)
        return _process(tiny_model, spec)

    sized = SizedEncoder(spec, small=lambda: make("small"), large=lambda: make("large"), smallest_call=3)
    sized.encode_queries(TEXTS[:2])
    sized.encode_passages(TEXTS[:2])
    assert made == ["small"]
    sized.encode_passages(TEXTS[:3])
    assert made == ["small", "large"]
