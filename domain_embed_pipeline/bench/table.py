"""The result as one table: a column per line of results, a row per measure.

What does not belong here: the figures themselves (`judging`, `running`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from domain_embed_pipeline.bench.judging import METRICS
from domain_embed_pipeline.bench.records import STAGES, BenchLine, BenchResult, RecipeCost
from domain_embed_pipeline.evaluation.records import MetricDifference
from domain_embed_pipeline.evaluation.statistics import significance_of
from domain_embed_pipeline.evaluation.words import metric_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from domain_embed_pipeline.bench.ingredients import IngredientRow

_COLOURS = {1: "green", 0: "", -1: "red"}
_COLUMN = 20
"""Characters of a column with its border."""


def print_bench(result: BenchResult, console: Console | None = None) -> None:
    """Print the table, and under it what each recipe did, and what failed."""
    from rich.console import Console
    from rich.markup import escape

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=20 + _COLUMN * max(3, len(result.lines)))
    console.print(bench_table(result))
    if result.settings.sample is not None:
        console.print("A sample: fewer chunks are easier to search. These are no figures of the whole set.")
    for line in result.lines:
        console.print(escape(f"{line.name}: {line.mode}"), highlight=False)
    for cost in result.costs:
        for note in cost.notes:
            console.print(escape(f"{cost.recipe}: {note}"), highlight=False)
        if cost.error:
            console.print(f"[red]{cost.recipe} failed:[/]\n{escape(cost.error)}", highlight=False)


def print_ingredients(rows: Sequence[IngredientRow]) -> None:
    """Print a row for each training, with its difference from the row that it is compared with."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="dev queries, by vectors; differences with 95 % interval", title_justify="left")
    table.add_column("training")
    table.add_column("against")
    for metric in rows[0].means:
        table.add_column(metric_name(metric), justify="right")
    for row in rows:
        differences = {found.metric: found for found in row.differences}
        cells = (_mean_and_difference(mean, differences.get(metric)) for metric, mean in row.means.items())
        table.add_row(row.name, row.reference or "", *cells)
    Console(width=100).print(table)


def bench_table(result: BenchResult) -> Table:
    """Quality by line; time, speed, memory and money by recipe, in the column of its first line."""
    from rich.table import Table

    compared = f"; below: difference from {result.reference}, 95 % interval" if result.reference else ""
    title = f"{result.chunk_count} chunks, {result.query_count} test queries{compared}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for line in result.lines:
        table.add_column(line.name, justify="right")
    for metric in METRICS:
        table.add_row(metric_name(metric), *(_quality(line, metric) for line in result.lines))
    table.add_section()
    first = _first_lines(result)
    for name, figures in _cost_rows(result).items():
        table.add_row(name, *(figures.get(line.recipe, "") if line.name in first else "" for line in result.lines))
    return table


def _quality(line: BenchLine, metric: str) -> str:
    difference = next((row for row in line.differences if row.metric == metric), None)
    return _mean_and_difference(line.metrics[metric], difference)


def _mean_and_difference(value: float, difference: MetricDifference | None) -> str:
    mean = f"{value:.3f}"
    if difference is None:
        return mean
    colour = _COLOURS[significance_of(difference)]
    text = f"{difference.difference:+.3f}\n\\[{difference.interval_low:+.3f}, {difference.interval_high:+.3f}]"
    return f"{mean}\n{f'[{colour}]{text}[/]' if colour else text}"


def _first_lines(result: BenchResult) -> set[str]:
    first: dict[str, str] = {}
    for line in result.lines:
        first.setdefault(line.recipe, line.name)
    return set(first.values())


def _cost_rows(result: BenchResult) -> dict[str, dict[str, str]]:
    """Row name to recipe to figure; a row that no recipe has is left out."""
    costs = [cost for cost in result.costs if not cost.error]
    rows = {f"{stage} s": {cost.recipe: _seconds(cost, stage) for cost in costs} for stage in STAGES}
    rows["total s"] = {cost.recipe: f"{cost.total_seconds:.1f}" for cost in costs}
    rows["training pairs"] = {cost.recipe: str(cost.pair_count or "") for cost in costs}
    rows["pairs/s"] = {cost.recipe: _figure(cost.pairs_per_second) for cost in costs}
    rows["chunks/s"] = {cost.recipe: _figure(cost.chunks_per_second) for cost in costs}
    rows["peak MB"] = {cost.recipe: f"{cost.peak_memory_mb:.0f}" for cost in costs}
    rows["peak GPU MB"] = {
        cost.recipe: "" if cost.peak_gpu_memory_mb is None else f"{cost.peak_gpu_memory_mb:.0f}" for cost in costs
    }
    rows["dollars"] = {cost.recipe: f"{cost.dollars:.2f}" for cost in costs}
    return {name: figures for name, figures in rows.items() if any(figures.values())}


def _seconds(cost: RecipeCost, stage: str) -> str:
    return f"{cost.seconds[stage]:.1f}" if stage in cost.seconds else ""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
