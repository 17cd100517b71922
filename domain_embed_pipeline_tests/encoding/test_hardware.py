"""Arithmetic by hardware."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from domain_embed_pipeline.encoding import hardware
from domain_embed_pipeline.encoding.hardware import choose_device, choose_dtype


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_is_asked_for_is_taken(device: str, precision: hardware.Precision) -> None:
    assert choose_dtype(device, precision) == precision


@pytest.mark.parametrize(("has_it", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_uses_bfloat16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch, has_it: bool, dtype: str) -> None:
    monkeypatch.setattr(hardware, "cpu_has_bfloat16", lambda: has_it)
    assert choose_dtype("cpu") == dtype


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_a_gpu_uses_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert choose_dtype("cuda") == dtype


@pytest.mark.parametrize(("has_gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, has_gpu: bool, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device() == device


@pytest.mark.parametrize(
    ("file", "may_have"), [("nvidiactl", True), ("kfd", True), ("dxg", True), ("nvme0n1", False), ("null", False)]
)
def test_a_gpu_shows_by_the_device_file_of_its_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, may_have: bool
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(hardware, "_DEVICES", tmp_path)
    monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")
    assert hardware.may_have_gpu() == may_have


def test_without_a_driver_the_device_is_known_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "may_have_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    monkeypatch.delitem(sys.modules, "torch")
    assert choose_device() == "cpu"


def test_other_systems_are_not_asked_for_cpu_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.platform, "system", lambda: "Darwin")
    assert not hardware.cpu_has_bfloat16()
