"""Trains in child processes that are killed, for the test of resuming: `python -m ... MODEL FOLDER STEP [STEP ...]`.

The heavy libraries are imported once and every training is a fork of this process. For each STEP a child is killed with
SIGKILL as soon as it logs that step, then another goes on to the end. Prints one JSON line for each STEP: the step that
training was resumed from, and the largest difference of any weight from those of an undisturbed child.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path

from domain_embed_pipeline_tests.training.scenario import QUICK, train_planted, weights_of

SETTINGS = dataclasses.replace(QUICK, evaluations_per_epoch=3)


def run_child(model: str, checkpoints: Path, result: Path, *, kill_at: int | None = None) -> str:
    """Train in a fork; returns what it logged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            train(model, checkpoints, result, log=writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    lines = []
    with os.fdopen(reading, encoding="utf-8") as log:
        for line in log:
            lines.append(line)
            counted = re.search(r"\[(\d+)/\d+\] loss", line)
            if kill_at is not None and counted and int(counted[1]) >= kill_at:
                os.kill(child, signal.SIGKILL)
                break
    _, status = os.waitpid(child, 0)
    expected = signal.SIGKILL if kill_at is not None else 0
    assert status == expected, f"status {status}: {''.join(lines)}"
    return "".join(lines)


def train(model: str, checkpoints: Path, result: Path, *, log: int) -> None:
    import torch

    torch.set_num_threads(1)
    handler = logging.StreamHandler(os.fdopen(log, "w", buffering=1, encoding="utf-8"))
    logging.getLogger("domain_embed_pipeline").addHandler(handler)
    logging.getLogger("domain_embed_pipeline").setLevel(logging.INFO)
    torch.save(weights_of(train_planted(model, checkpoints, SETTINGS)), result)


def main() -> None:
    import datasets  # noqa: F401
    import faiss  # noqa: F401
    import sentence_transformers  # noqa: F401
    import torch

    model, folder, steps = sys.argv[1], Path(sys.argv[2]), [int(step) for step in sys.argv[3:]]
    run_child(model, folder / "undisturbed", folder / "undisturbed.pt")
    expected = torch.load(folder / "undisturbed.pt")
    for step in steps:
        run_child(model, folder / f"killed-{step}", folder / "lost.pt", kill_at=step)
        assert not (folder / "lost.pt").exists()
        log = run_child(model, folder / f"killed-{step}", folder / f"{step}.pt")
        resumed = re.search(r"Resuming from .*checkpoint-(\d+)", log)
        difference = (torch.load(folder / f"{step}.pt") - expected).abs().max().item()
        line = {"step": step, "resumed_from": int(resumed[1]) if resumed else 0, "difference": difference}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
