"""Which engine, on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["process", "devices", "ray"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How many texts are encoded. Small calls, such as a query, stay in this process."""

    engine: EngineName = "process"
    """`process`: this process and its device. `devices`: a process for each device of this machine. `ray`: actors of
    Ray Data, on a cluster or on this machine (extra `ray`)."""
    devices: tuple[str, ...] = ()
    """Of the engine `devices`, such as `cuda:0`; every GPU when empty."""
    smallest_call: int = 2_048
    """Fewer texts than this are encoded in this process: starting workers takes seconds."""
    actors: int = 1
    """Ray actors; each loads the model."""
    cpus_per_actor: float = 1.0
    """One CPU of the cluster must stay free for reading, or the run would wait for ever."""
    gpus_per_actor: float = 0.0
    ray_address: str | None = None
    """`auto` or `ray://...`; a cluster of its own on this machine when not given."""
    timeout_s: float = 3_600.0
    """A Ray run that takes longer is given up."""
