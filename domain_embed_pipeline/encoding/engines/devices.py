"""Several devices of one machine: a process for each, by sentence-transformers' own pool."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.engines.settings import EngineSettings
from domain_embed_pipeline.encoding.sentence_transformer import finished, load_model
from domain_embed_pipeline.encoding.spec import EncoderSpec, Side, SidedEncoder
from domain_embed_pipeline.errors import EncodingEngineError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_GPU_BATCH, _CPU_BATCH = 256, 8


class DevicesEncoder(SidedEncoder):
    """Texts dealt out to a pool of processes, which lives as long as the encoder.

    The processes are spawned: a script that uses this at its top level needs `if __name__ == "__main__":`.
    """

    def __init__(self, folder: str, spec: EncoderSpec, settings: EngineSettings) -> None:
        import torch

        super().__init__(spec)
        devices = list(settings.devices) or [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if not devices:
            raise EncodingEngineError(
                "There is no GPU to encode on.", fix="Name devices, such as cpu,cpu, or use the engine `process`."
            )
        self._batch_size = _GPU_BATCH if devices[0].startswith("cuda") else _CPU_BATCH
        model: Any = load_model(folder, device="cpu", max_length=spec.max_length)
        self._model = model.to(getattr(torch, spec.dtype))
        self._model.max_seq_length = spec.max_length
        logger.info("Starting %d encoding processes: %s.", len(devices), ", ".join(devices))
        self._pool = self._model.start_multi_process_pool(devices)
        self.close = weakref.finalize(self, self._model.stop_multi_process_pool, self._pool)
        """Ends the processes; happens by itself when the encoder is no longer used."""

    def _encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        import numpy as np

        if not texts:
            return np.zeros((0, self._spec.dimension), dtype=np.float32)
        found = self._model.encode(
            list(texts),
            prompt=self._spec.prompt_of(side),
            batch_size=self._batch_size,
            pool=self._pool,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return finished(found.cpu(), self._spec).numpy()
