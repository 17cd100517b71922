"""Ray Data: actors on a cluster, each with the model, fed block by block; Parquet in and out on any fsspec path.

Ray waits without a word when actors hold every CPU and nothing is left to read with. So what the actors take is checked
against what the cluster has before anything starts, and a run has a time-out.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.spec import EncoderSpec, Side, SidedEncoder, encode_side
from domain_embed_pipeline.errors import EncodingEngineError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READING_CPUS = 1.0
_BLOCK = 256
"""Texts a call of an actor."""


class RayEncoder(SidedEncoder):
    """Encodes lists of texts on Ray."""

    def __init__(self, folder: str, spec: EncoderSpec, settings: EngineSettings) -> None:
        super().__init__(spec)
        self._folder, self._settings = folder, settings

    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        import numpy as np
        import pyarrow as pa

        vectors = np.zeros((len(texts), self._spec.dimension), dtype=np.float32)
        if not texts:
            return vectors
        ray = connect(self._settings)
        table = pa.table({"row": list(range(len(texts))), "text": list(texts)})
        dataset = ray.data.from_arrow(table).repartition(max(self._settings.actors, len(texts) // _BLOCK))
        encoded = _with_vectors(dataset, self._folder, self._spec, self._settings, side=side)
        for block in within(self._settings.timeout_s, encoded.take_all):
            vectors[block["row"]] = block["vector"]
        return vectors


def encode_parquet(source: str, target: str, folder: str, spec: EncoderSpec, settings: EngineSettings) -> None:
    """Read passages from Parquet and write Parquet with a column `vector` beside the others; nothing is collected.

    Args:
        source: File or folder, on any path that pyarrow reads; with a column `text`.
        target: Folder that is written.
        folder: Model folder, readable on every machine of the cluster.
        spec: How texts are encoded.
        settings: Actors and time-out.

    Raises:
        EncodingEngineError: If the cluster is too small, the time is up, or an actor fails.
    """
    ray = connect(settings)
    encoded = _with_vectors(ray.data.read_parquet(source), folder, spec, settings, side="passage")
    within(settings.timeout_s, lambda: encoded.write_parquet(target))


def connect(settings: EngineSettings) -> Any:
    """Join the cluster, or start one on this machine, and check that it is large enough; returns the module `ray`.

    Raises:
        MissingDependencyError: Without ray.
        EncodingEngineError: If the actors would leave nothing to read with.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would rebuild this environment for its workers when it is run by `uv`; ours is there already.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray's workers are nice to everybody else (15): beside other work an actor took minutes to load its model.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray = _ray()
    except ImportError as error:
        raise MissingDependencyError(
            "The encoding engine `ray` needs the package ray.", fix="pip install 'domain-embed-pipeline[ray]'"
        ) from error
    if not ray.is_initialized():
        # A cluster of its own listens on this machine only.
        own = {"_node_ip_address": "127.0.0.1"} if settings.ray_address is None else {}
        ray.init(
            address=settings.ray_address, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **own
        )
    check_resources(ray.cluster_resources(), settings)
    return ray


def _ray() -> Any:
    """The module, by its name: where the extra is not installed, type checkers do not know it."""
    importlib.import_module("ray.data")
    return importlib.import_module("ray")


def check_resources(available: dict[str, float], settings: EngineSettings) -> None:
    """Whether the actors fit and a CPU stays free.

    Raises:
        EncodingEngineError: With both figures, when they do not.
    """
    cpus = settings.actors * settings.cpus_per_actor + _READING_CPUS
    gpus = settings.actors * settings.gpus_per_actor
    short = [
        f"{wanted:g} {name} wanted, {available.get(name, 0):g} there"
        for name, wanted in (("CPU", cpus), ("GPU", gpus))
        if wanted > available.get(name, 0)
    ]
    if short:
        raise EncodingEngineError(
            f"The Ray cluster is too small ({'; '.join(short)}): the run would wait for ever.",
            fix="Set fewer actors, or fewer CPUs an actor; one CPU must stay free for reading.",
        )


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, which runs in a thread; when the time is up the connection to Ray is closed.

    Raises:
        EncodingEngineError: If the time is up, or the work fails.
    """
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        """A thread's exception would be lost; it is handed to the caller."""
        try:
            results.append(work())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="ray-run", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _disconnect()
        raise EncodingEngineError(
            f"The Ray run was not done after {seconds:g} s.",
            fix="Give more time (timeout_s) or more actors; `ray status` shows what it waits for.",
        )
    if failures:
        raise EncodingEngineError(f"The Ray run failed: {failures[0]}", fix="See Ray's logs.") from failures[0]
    return results[0]


def _disconnect() -> None:
    _ray().shutdown()


def _with_vectors(dataset: Any, folder: str, spec: EncoderSpec, settings: EngineSettings, *, side: Side) -> Any:
    return dataset.map_batches(
        RayActor,
        fn_constructor_args=(folder, spec, side),
        batch_size=_BLOCK,
        compute=_ray().data.ActorPoolStrategy(size=settings.actors),
        num_cpus=settings.cpus_per_actor,
        num_gpus=settings.gpus_per_actor,
    )


class RayActor:
    """What runs on the cluster: the model, loaded once an actor."""

    def __init__(self, folder: str, spec: EncoderSpec, side: Side) -> None:
        from domain_embed_pipeline.encoding.sentence_transformer import load_encoder

        self._encoder = load_encoder(folder, spec)
        self._side: Side = side

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with a column `vector`."""
        return batch | {"vector": encode_side(self._encoder, [str(text) for text in batch["text"]], self._side)}
