"""The benchmark itself: check the input, run each recipe in a process of its own, judge all rankings.

What does not belong here: what a recipe does (`recipes`), how the result is shown (`table`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from domain_embed_pipeline.bench.deployment import load_data, open_workspace
from domain_embed_pipeline.bench.judging import Judge, judged_lines
from domain_embed_pipeline.bench.recipes import RECIPES, TUTORIAL
from domain_embed_pipeline.bench.records import BenchResult, BenchSettings, RecipeCost, RecipeJob, RecipeRun
from domain_embed_pipeline.bench.sampling import write_sample
from domain_embed_pipeline.bench.stopwatch import Stopwatch
from domain_embed_pipeline.bench.tutorial import has_plain_questions
from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.errors import ConfigurationError, EvaluationSetError
from domain_embed_pipeline.pairs.beir import read_queries
from domain_embed_pipeline.registry.manifest import library_versions
from domain_embed_pipeline.tables import from_plain

_NEEDED = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
_LOG_LINES = 12


def run_bench(settings: BenchSettings, *, tell: Callable[[str], None] = lambda line: None) -> BenchResult:
    """Run the recipes one after the other, each in a fresh process, and judge them.

    A recipe that fails is in the result with the end of its log; the others go on.

    Args:
        settings: What to run on what.
        tell: Called with a line before and after each recipe.

    Raises:
        ConfigurationError: If a recipe is unknown or a file is missing.
        BaseModelNotFoundError: If nobody has the base model.
    """
    _check(settings)
    resolve_base_model(settings.base_model)
    with artifacts_of(settings) as artifacts:
        jobs = jobs_of(settings, artifacts)
        data = load_data(open_workspace(_job_of_judge(jobs[0], artifacts), Stopwatch()))
        tell(f"{len(data.corpus.chunks)} chunks, {len(data.queries.queries_of('test'))} test queries")
        runs = {}
        for number, job in enumerate(jobs, start=1):
            tell(f"[{number}/{len(jobs)}] {job.recipe} ...")
            runs[job.recipe] = run = run_in_process(job)
            tell(f"[{number}/{len(jobs)}] {job.recipe}: {_told(run)}")
        judge = Judge(data, read_queries(jobs[0].folder, error=EvaluationSetError))
        done = {recipe: run for recipe, run in runs.items() if isinstance(run, RecipeRun)}
        found = [(recipe, line) for recipe, run in done.items() for line in run.output.lines]
        reference = TUTORIAL if TUTORIAL in done else None
        return BenchResult(
            settings=settings,
            chunk_count=len(data.corpus.chunks),
            query_count=len(data.queries.queries_of("test")),
            reference=reference,
            lines=judged_lines(judge, found, reference),
            costs=tuple(cost_of(recipe, run) for recipe, run in runs.items()),
            machine=_machine(),
        )


def run_in_process(job: RecipeJob) -> RecipeRun | str:
    """Run one recipe in a fresh interpreter; the end of its log when it failed. The log stays in the job's folder."""
    folder = Path(job.artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    job_file, run_file, log = folder / "job.json", folder / "run.json", folder / "log.txt"
    job_file.write_text(json.dumps(dataclasses.asdict(job)), encoding="utf-8")
    run_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "domain_embed_pipeline.bench.child", str(job_file), str(run_file)]
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0 or not run_file.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        return "\n".join([*lines, f"({_ending(done.returncode)})"])
    return from_plain(RecipeRun, json.loads(run_file.read_text(encoding="utf-8")))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = ": probably memory ran out" if -code == signal.SIGKILL else ""
    return f"ended by {signal.Signals(-code).name}{hint}"


def cost_of(recipe: str, run: RecipeRun | str) -> RecipeCost:
    """Rates and totals of a run."""
    if isinstance(run, str):
        return RecipeCost(recipe, error=run)
    output, seconds = run.output, run.seconds
    return RecipeCost(
        recipe=recipe,
        seconds=seconds,
        total_seconds=sum(seconds.values()),
        pair_count=output.pair_count,
        pairs_per_second=_rate(output.pairs_seen, seconds.get("train", 0.0)),
        chunks_per_second=_rate(output.passages_encoded, seconds.get("encode", 0.0)),
        peak_memory_mb=run.peak_memory_mb,
        peak_gpu_memory_mb=run.peak_gpu_memory_mb,
        dollars=output.dollars,
        notes=output.notes,
    )


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if count and seconds > 0 else None


def _check(settings: BenchSettings) -> None:
    unknown = [recipe for recipe in settings.recipes if recipe not in RECIPES]
    if unknown or not settings.recipes or len(set(settings.recipes)) < len(settings.recipes):
        raise ConfigurationError(
            f"Recipes {', '.join(settings.recipes) or '(none)'}: "
            f"{', '.join(unknown) + ' unknown' if unknown else 'each must be named once'}.",
            fix=f"Choose among {', '.join(RECIPES)}.",
        )
    wanted = [Path(settings.folder) / name for name in _NEEDED]
    missing = [str(path) for path in (*wanted, *filter(None, [_questions(settings)])) if not path.is_file()]
    if missing:
        raise ConfigurationError(
            f"Missing: {', '.join(missing)}.", fix=f"Give a folder in BEIR layout, with {', '.join(_NEEDED)}."
        )
    if settings.sample is not None and settings.sample < 1:
        raise ConfigurationError(f"A sample of {settings.sample} queries is none.", fix="Give 1 or more.")


def _questions(settings: BenchSettings) -> Path | None:
    return Path(settings.questions).resolve() if settings.questions else None


@contextlib.contextmanager
def artifacts_of(settings: BenchSettings) -> Iterator[Path]:
    """The folder where files stay, or a temporary one."""
    if settings.artifacts is not None:
        folder = Path(settings.artifacts).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="domain-embed-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def jobs_of(settings: BenchSettings, artifacts: Path) -> list[RecipeJob]:
    """What each recipe is told; a sample is written into `artifacts` first."""
    folder, questions = str(Path(settings.folder).resolve()), _questions(settings)
    named = str(questions) if questions else None
    if settings.sample is not None:
        target = artifacts / f"sample-{os.getpid()}"
        folder, named = write_sample(folder, named, count=settings.sample, seed=settings.seed, target=target)
    plain = has_plain_questions(Path(named) if named else None)
    return [
        RecipeJob(
            recipe=recipe,
            folder=folder,
            questions=named,
            use_train_judgments=settings.train_qrels if settings.train_qrels is not None else not plain,
            base_model=settings.base_model,
            artifacts=str(artifacts / recipe),
            seed=settings.seed,
        )
        for recipe in settings.recipes
    ]


def _job_of_judge(job: RecipeJob, artifacts: Path) -> RecipeJob:
    return dataclasses.replace(job, artifacts=str(artifacts / "judge"))


def _told(run: RecipeRun | str) -> str:
    if isinstance(run, str):
        return "failed"
    return ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in run.seconds.items())


def _machine() -> dict[str, str]:
    return {
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "threads": os.environ.get("OMP_NUM_THREADS", "as torch chooses"),
        "python": platform.python_version(),
    } | library_versions()
