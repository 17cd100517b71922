"""One of several processes of a training: `torchrun ... -m domain_embed_pipeline.training.worker JOB RESULT`.

All processes train the same stage, each on its share of every batch. The first one writes the result, and reports to
Dagster when Dagster started it (dagster-pipes).
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain_embed_pipeline.encoding.hardware import choose_device
from domain_embed_pipeline.training.distributed import is_distributed, rank, wait_for_others, world_size
from domain_embed_pipeline.training.launching import StageJob, write_result

_PIPES = "DAGSTER_PIPES_CONTEXT"


def main(job_file: str, result: str) -> None:
    """Train, and write what came out."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    device = _join()
    job: StageJob = pickle.loads(Path(job_file).read_bytes())
    with _reporting() as pipes:
        stage = job.run(device=device)
        if rank() == 0:
            write_result(stage, Path(result))
            losses = [point.loss for point in stage.history if point.loss is not None]
            if pipes is not None:
                pipes.log.info(f"Trained in {world_size()} processes; last loss {losses[-1] if losses else 'unknown'}.")
        wait_for_others()
    _leave()


def _join() -> str:
    """Meet the other processes; returns this one's device."""
    from accelerate import PartialState

    device = choose_device()
    PartialState(cpu=device == "cpu")
    assert is_distributed(), "This module is run by torchrun with two processes or more."
    return device if device == "cpu" else f"{device}:{os.environ['LOCAL_RANK']}"


def _leave() -> None:
    import torch.distributed

    torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _reporting() -> Iterator[Any]:
    """The connection to Dagster in the first process that Dagster started; None elsewhere."""
    if rank() > 0 or _PIPES not in os.environ:
        yield None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield pipes


if __name__ == "__main__":
    main(*sys.argv[1:])
