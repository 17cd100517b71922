"""Training in this process, or in several of `torchrun` that share each batch (`num_processes`).

What belongs here: handing a stage over to other processes and taking its result. What does not: what a process does
(`worker`), who watches them (a `Launcher`; the asset gives one that reports to Dagster).
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain_embed_pipeline.encoding.sentence_transformer import load_model
from domain_embed_pipeline.errors import TrainingError
from domain_embed_pipeline.training.fine_tuning import StageTask, TrainedStage, fine_tune

Launcher = Callable[[Sequence[str], Mapping[str, str]], None]
"""Runs a command with further environment variables to its end.

Raises:
    TrainingError: If it fails; the message says what went wrong.
"""
_LOG_LINES = 20
_RAISED = re.compile(r"(\[rank\d+\]:\s*)?[\w.]+(Error|Exception)\b")


@dataclass(frozen=True, slots=True)
class StageJob:
    """One stage, wherever it is trained."""

    model_folder: str
    """The model to start from."""
    task: StageTask

    def run(self, *, device: str | None = None) -> TrainedStage:
        """Train it in this process, on a device that is chosen by hardware when not given; errors of `fine_tune`."""
        return fine_tune(load_model(self.model_folder, device=device, max_length=self.task.spec.max_length), self.task)


def run_stage(job: StageJob, *, launch: Launcher | None = None) -> TrainedStage:
    """Train a stage in as many processes as its settings say; all see the in-batch negatives of the whole batch.

    Args:
        job: What to train.
        launch: Runs `torchrun`; a plain subprocess by default. Not used for one process.

    Raises:
        TrainingError: As `fine_tune`, or if one of several processes fails.
    """
    processes = job.task.settings.num_processes
    if processes == 1:
        return job.run()
    with tempfile.TemporaryDirectory(prefix="domain-embed-training-") as folder:
        job_file, result = Path(folder) / "job.pickle", Path(folder) / "result"
        job_file.write_bytes(pickle.dumps(job))
        command = torchrun_command(processes, str(job_file), str(result))
        (launch or run_subprocess)(command, _environment(processes))
        return read_result(result)


def torchrun_command(processes: int, *arguments: str) -> list[str]:
    """The command of a training on this machine."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "--local-addr=127.0.0.1", "-m", "domain_embed_pipeline.training.worker", *arguments,
    ]  # fmt: skip


def run_subprocess(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command quietly.

    Raises:
        TrainingError: With the end of its output when it fails.
    """
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, errors="replace"
    )
    if done.returncode != 0:
        raise TrainingError(
            f"A training in several processes ended with exit code {done.returncode}:\n"
            f"{_reason(done.stdout + done.stderr)}",
            fix="Set num_processes to 1 to see the error in one process.",
        )


def _reason(output: str) -> str:
    """What the first process that failed raised; torchrun's own summary comes after it and says less."""
    lines = output.strip().splitlines()
    raised = [line for line in lines if _RAISED.match(line) and "ChildFailedError" not in line]
    return raised[0] if raised else "\n".join(lines[-_LOG_LINES:])


def write_result(stage: TrainedStage, folder: Path) -> None:
    """Write the model, and everything else beside it."""
    stage.model.save_pretrained(str(folder / "model"), create_model_card=False, safe_serialization=True)
    rest = {name: getattr(stage, name) for name in TrainedStage.__slots__ if name != "model"}
    (folder / "stage.pickle").write_bytes(pickle.dumps(rest))


def read_result(folder: Path) -> TrainedStage:
    """What `write_result` wrote; the model is in memory."""
    rest = pickle.loads((folder / "stage.pickle").read_bytes())
    return TrainedStage(model=load_model(str(folder / "model")), **rest)


def _environment(processes: int) -> dict[str, str]:
    """The machine's cores are shared out: torchrun alone would give each process one."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    return {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
