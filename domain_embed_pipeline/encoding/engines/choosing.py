"""From settings to an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.spec import Encoder, EncoderSpec, Side, SidedEncoder, encode_side

if TYPE_CHECKING:
    import numpy as np

LARGE_PART = 65_536
"""Texts handed to a distributed engine at a time: what a kill can cost, against how often workers idle."""


def load_with_engine(folder: str, spec: EncoderSpec, settings: EngineSettings) -> Encoder:
    """Encoder of a stored model version on the engine that the settings name."""
    from domain_embed_pipeline.encoding.sentence_transformer import load_encoder

    if settings.engine == "process":
        return load_encoder(folder, spec)
    return SizedEncoder(
        spec,
        small=lambda: load_encoder(folder, spec),
        large=lambda: _distributed(folder, spec, settings),
        smallest_call=settings.smallest_call,
    )


def _distributed(folder: str, spec: EncoderSpec, settings: EngineSettings) -> Encoder:
    if settings.engine == "devices":
        from domain_embed_pipeline.encoding.engines.devices import DevicesEncoder

        return DevicesEncoder(folder, spec, settings)
    from domain_embed_pipeline.encoding.engines.ray_data import RayEncoder

    return RayEncoder(folder, spec, settings)


class SizedEncoder(SidedEncoder):
    """Small calls in this process, large ones elsewhere; each is made when it is first needed."""

    def __init__(
        self, spec: EncoderSpec, *, small: Callable[[], Encoder], large: Callable[[], Encoder], smallest_call: int
    ) -> None:
        super().__init__(spec)
        self._smallest_call = smallest_call
        self._make = {"small": small, "large": large}
        self._made: dict[str, Encoder] = {}

    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        return encode_side(self._for(texts), texts, side)

    def _for(self, texts: Sequence[str]) -> Encoder:
        size = "small" if len(texts) < self._smallest_call else "large"
        if size not in self._made:
            self._made[size] = self._make[size]()
        return self._made[size]
