"""What the machine can do: device, arithmetic, memory. No model is loaded here."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_DEVICES = Path("/dev")
_GPU_DRIVERS = ("nvidia*", "nvhost*", "nvmap", "nvgpu*", "kfd", "dxg")
"""What the drivers of NVIDIA (Jetson too), AMD and Windows' Linux subsystem show there."""


def choose_device() -> str:
    """`cuda` where there is a GPU, else `cpu`. Apple's `mps` is not chosen: its results are not reproducible.

    Where no driver shows a device the answer does not need torch, whose import takes seconds: a step that finds its
    work done already would do nothing else.
    """
    if "torch" not in sys.modules and not may_have_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def may_have_gpu() -> bool:
    """Whether a GPU can be there at all: on Linux, a device file of a driver that torch knows."""
    system = platform.system()
    if system == "Linux":
        return any(next(_DEVICES.glob(pattern), None) for pattern in _GPU_DRIVERS)
    return system != "Darwin"


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX); emulation is slower than float32."""
    if platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_dtype(device: str, precision: Precision = "auto") -> str:
    """Arithmetic of the forward pass: bfloat16 where it is native, float16 on older GPUs, else float32."""
    if precision != "auto":
        return precision
    if not device.startswith("cuda"):
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    import torch

    return "bfloat16" if torch.cuda.get_device_capability()[0] >= 8 else "float16"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, Exception) and should_reduce_batch_size(error)


def quiet_libraries() -> None:
    """Switch off the progress bars of transformers and datasets; ours are log lines that say `[done/total]`."""
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
