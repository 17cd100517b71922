"""The process of one recipe: `python -m domain_embed_pipeline.bench.child JOB.json RUN.json`.

What belongs here: reading the job, running it, writing what came out. A process of its own gives each recipe its own
peak memory, its own caches and an interpreter that has imported nothing.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import sys
from pathlib import Path

from domain_embed_pipeline.bench.recipes import run_recipe
from domain_embed_pipeline.bench.records import RecipeJob, RecipeRun
from domain_embed_pipeline.bench.stopwatch import Stopwatch, peak_gpu_memory_mb, peak_memory_mb
from domain_embed_pipeline.tables import from_plain


def main(job_file: str, run_file: str) -> None:
    """Run the job and write its `RecipeRun`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("domain_embed_pipeline").setLevel(logging.INFO)
    job = from_plain(RecipeJob, json.loads(Path(job_file).read_text(encoding="utf-8")))
    random.seed(job.seed)
    watch = Stopwatch()
    output = run_recipe(job, watch)
    run = RecipeRun(output, watch.seconds, peak_memory_mb(), peak_gpu_memory_mb())
    Path(run_file).write_text(json.dumps(dataclasses.asdict(run)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
