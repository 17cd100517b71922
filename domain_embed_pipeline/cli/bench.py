"""`domain-embed bench`."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from domain_embed_pipeline.bench.records import BenchSettings
from domain_embed_pipeline.cli.common import AsJson, BaseModel, write, write_json
from domain_embed_pipeline.settings import DeploymentSettings

Folder = Annotated[Path | None, typer.Argument(help="BEIR layout: corpus.jsonl, queries.jsonl, qrels/test.tsv.")]
Questions = Annotated[
    Path | None, typer.Option(help="Recorded questions: JSON lines with chunk_id and styles such as plain.")
]
Recipes = Annotated[
    str, typer.Option(help="Of tutorial, default, default-plain, base, base-expanded, bm25; separated by commas.")
]
Sample = Annotated[int | None, typer.Option(min=1, help="A quick look: so many queries, four times the chunks.")]
TrainQrels = Annotated[
    bool | None,
    typer.Option(help="Whether ours trains on qrels/train.tsv; by default as the tutorial: without plain questions."),
]
Seed = Annotated[int, typer.Option(help="Of every recipe.")]
Artifacts = Annotated[
    Path | None, typer.Option(help="Keep models and logs here. What is there is not done again, nor timed.")
]
Encode = Annotated[bool, typer.Option("--encode", help="Only the speed of encoding, against plain calls.")]
Train = Annotated[bool, typer.Option("--train", help="Only the speed of training steps, likewise.")]
SecondRun = Annotated[
    bool, typer.Option("--second-run", help="Only what a run costs when nothing, or 1 % of the chunks, changed.")
]
Ingredients = Annotated[
    bool, typer.Option("--ingredients", help="Only what each ingredient of our training is worth, on dev queries.")
]
GrowthSizes = Annotated[
    str | None, typer.Option(help="Only the cost of each room by size, on made-up chunks: 1000,3000,10000.")
]
MadeUp = Annotated[
    int | None, typer.Option(min=100, help="So many made-up chunks instead of BEIR_DIR, for --encode and --second-run.")
]
Plot = Annotated[Path | None, typer.Option(help="Where --growth draws its log-log plot.")]
Repeats = Annotated[int, typer.Option(min=1, help="Turns of --encode and --train; the median counts.")]

_MADE_UP_WORDS = 110
"""About 240 tokens, as the chunks that documents are cut into."""


def bench(
    folder: Folder = None,
    questions: Questions = None,
    recipes: Recipes = "tutorial,default,base,bm25",
    sample: Sample = None,
    train_qrels: TrainQrels = None,
    base_model: BaseModel = None,
    seed: Seed = 42,
    artifacts: Artifacts = None,
    encode: Encode = False,
    train: Train = False,
    second: SecondRun = False,
    ingredients: Ingredients = False,
    made_up: MadeUp = None,
    growth: GrowthSizes = None,
    plot: Plot = None,
    repeats: Repeats = 5,
    as_json: AsJson = False,
) -> None:
    """Recipes side by side on one set: Recall@k with paired intervals, seconds, memory, dollars. Nobody is asked.

    `tutorial` is the best-known public recipe by hand, `default` this pipeline. Each runs in a process of its own, one
    after the other. Exit code 1 when a recipe failed.
    """
    base_model = base_model or DeploymentSettings().base_model
    if growth is not None:
        _growth(growth, base_model, plot, as_json=as_json)
        return
    if folder is None and made_up is None:
        raise typer.BadParameter("BEIR_DIR is missing; only --growth and --made-up do without.")
    if made_up is not None and not (encode or second):
        raise typer.BadParameter("--made-up goes with --encode or --second-run: made-up chunks teach nothing.")
    with contextlib.ExitStack() as stack:
        if made_up is not None:
            folder, questions = stack.enter_context(_made_up_corpus(made_up, seed))
        settings = BenchSettings(
            folder=str(folder),
            recipes=tuple(filter(None, (name.strip() for name in recipes.split(",")))),
            base_model=base_model,
            questions=str(questions) if questions else None,
            sample=sample,
            train_qrels=train_qrels,
            seed=seed,
            artifacts=str(artifacts) if artifacts else None,
        )
        if encode or train:
            _speeds(settings, encode=encode, train=train, repeats=repeats, as_json=as_json)
        elif second:
            _second_run(settings, as_json=as_json)
        elif ingredients:
            _ingredients(settings, as_json=as_json)
        else:
            _side_by_side(settings, as_json=as_json)


def _side_by_side(settings: BenchSettings, *, as_json: bool) -> None:
    from domain_embed_pipeline.bench.running import run_bench
    from domain_embed_pipeline.bench.table import print_bench

    result = run_bench(settings, tell=lambda line: typer.echo(line, err=True))
    if as_json:
        write_json(result)
    else:
        print_bench(result)
    if result.failed:
        raise typer.Exit(1)


def _ingredients(settings: BenchSettings, *, as_json: bool) -> None:
    from domain_embed_pipeline.bench.ingredients import run_ingredients
    from domain_embed_pipeline.bench.table import print_ingredients

    rows = run_ingredients(settings, tell=lambda line: typer.echo(line, err=True))
    if as_json:
        write_json(rows)
    else:
        print_ingredients(rows)


def _growth(sizes: str, base_model: str, plot: Path | None, *, as_json: bool) -> None:
    from domain_embed_pipeline.bench.growth import growth

    result = growth([int(size) for size in sizes.split(",")], base_model=base_model, plot=plot)
    _show(result.lines(), result if as_json else None)


def _second_run(settings: BenchSettings, *, as_json: bool) -> None:
    from domain_embed_pipeline.bench.second_run import second_run

    with _data(settings) as (folder, questions), tempfile.TemporaryDirectory(prefix="domain-embed-bench-") as artifacts:
        result = second_run(folder, questions, base_model=settings.base_model, artifacts=Path(artifacts))
    _show(result.lines(), result if as_json else None)


def _speeds(settings: BenchSettings, *, encode: bool, train: bool, repeats: int, as_json: bool) -> None:
    """Time encoding and training on the folder, or on a sample of it."""
    from domain_embed_pipeline.bench.encode_speed import encode_speed
    from domain_embed_pipeline.bench.train_speed import train_speed

    speeds = []
    with _data(settings) as (folder, questions):
        if encode:
            speeds.append(encode_speed(folder, base_model=settings.base_model, repeats=repeats))
        if train:
            speeds.append(train_speed(folder, questions, base_model=settings.base_model, repeats=repeats))
    for speed in speeds:
        figures = dataclasses.asdict(speed) | {"ratio": speed.ratio, "cpu_ratio": speed.cpu_ratio}
        _show(speed.lines(), figures if as_json else None)


def _show(lines: list[str], figures: Any) -> None:
    """The figures as a line of JSON, or the lines when there are none."""
    if figures is not None:
        write_json(figures, indent=None)
    else:
        write("\n".join(lines))


@contextlib.contextmanager
def _made_up_corpus(size: int, seed: int) -> Iterator[tuple[Path, Path]]:
    """A folder of made-up chunks and its questions, for as long as the context lasts."""
    from domain_embed_pipeline.bench.growth import write_corpus

    with tempfile.TemporaryDirectory(prefix="domain-embed-bench-") as temporary:
        folder = Path(temporary) / "made-up"
        yield folder, write_corpus(folder, size, chunk_words=_MADE_UP_WORDS, seed=seed)


@contextlib.contextmanager
def _data(settings: BenchSettings) -> Iterator[tuple[Path, Path | None]]:
    """The folder and its questions, or a sample of them."""
    from domain_embed_pipeline.bench.sampling import write_sample

    folder, questions = settings.folder, settings.questions
    with tempfile.TemporaryDirectory(prefix="domain-embed-bench-") as temporary:
        if settings.sample is not None:
            target = Path(temporary) / "sample"
            folder, questions = write_sample(
                folder, questions, count=settings.sample, seed=settings.seed, target=target
            )
        yield Path(folder), Path(questions) if questions else None
