"""What a person sees in the terminal during and after a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.evaluation.records import RECALL_KS, Comparison, Evaluation, ReferenceComparison
from domain_embed_pipeline.evaluation.words import mode_name
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

    from domain_embed_pipeline.defs.execution import RunEvent

ASSET_COUNT = 17
_COUNTER = re.compile(r"\[(\d+)/(\d+)\]|^(\d+)/(\d+) chunks")
"""Library logs that report progress carry `[done/total]`, those of the question step `done/total chunks`."""
_SHOWN_QUERIES = 3
_TITLE_WIDTH = 56


class RunScreen:
    """Progress bars of a run: one for the assets, one for each step that counts something.

    Where bars cannot be drawn (a file, a pipe, a CI log) each thing that happens is a line.
    """

    def __init__(self, *, enabled: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._in_lines = enabled and not self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>5.0f}/{task.total:<5.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}"),
            console=self._console,
            disable=not enabled or self._in_lines,
        )
        self._all = self._progress.add_task("assets", total=ASSET_COUNT, line="")
        self._steps: dict[str, TaskID] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> RunScreen:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, event: RunEvent) -> None:
        """Show what happened."""
        if self._in_lines:
            self._say(event)
        if event.kind == "step_started" and not self._is_check(event.step):
            self._steps[event.step] = self._progress.add_task(event.step, total=1, line="")
        elif event.kind in ("step_succeeded", "step_failed"):
            self._finish(event)
        elif event.kind == "check_failed":
            self._console.print(f"[yellow]check[/] {event.step}: {event.message}", highlight=False)
        elif event.kind == "log" and event.step in self._steps:
            self._log(event)

    def _say(self, event: RunEvent) -> None:
        if event.kind == "check_failed" or not event.step or self._is_check(event.step):
            return
        said = _logged(event) if event.kind == "log" else event.kind.removeprefix("step_")
        self._console.print(f"{event.step}: {said}", highlight=False, markup=False, soft_wrap=True)

    def _is_check(self, step: str) -> bool:
        """A check's step is named `<asset>_<check>` and comes after its asset's."""
        return any(step.startswith(f"{asset}_") for asset in self._steps)

    def _finish(self, event: RunEvent) -> None:
        if event.step not in self._steps:
            return
        task = self._steps[event.step]
        self._finished.add(event.step)
        line = "[red]failed" if event.kind == "step_failed" else "[green]done"
        total = self._progress.tasks[task].total or 1
        self._progress.update(task, completed=total, line=line)
        self._progress.update(self._all, completed=len(self._finished))

    def _log(self, event: RunEvent) -> None:
        task = self._steps[event.step]
        counted = _COUNTER.search(event.message)
        line = _COUNTER.sub("", _logged(event)).strip()[:70]
        if counted:
            done, total = (int(number) for number in counted.groups() if number is not None)
            self._progress.update(task, completed=done, total=total, line=line)
        else:
            self._progress.update(task, line=line)


def _logged(event: RunEvent) -> str:
    """A log line without what Dagster puts before it."""
    return event.message.rsplit(" - ", 1)[-1].strip()


def print_result(workspace: Workspace, *, home: Path) -> None:
    """One screen: Recall@k with intervals, verdict, three queries before and after, lineage, where the report lies."""
    from rich.console import Console

    console = Console()
    comparison = workspace.stored(Comparison, "model_comparison")
    if comparison is None:
        return
    console.print(_recall_table(comparison.dense_against_base, f"Vectors alone, {comparison.query_count} test queries"))
    served = (
        f"As served: {mode_name(comparison.candidate_mode)}, base: {mode_name(comparison.against_base.reference_mode)}"
    )
    console.print(_recall_table(comparison.against_base, served))
    colour = {"better": "green", "not_shown": "yellow", "worse": "red"}[comparison.verdict]
    console.print(f"Verdict: [bold {colour}]{comparison.verdict}[/]. {comparison.reason}\n", highlight=False)
    if comparison.recommendation:
        console.print(f"Advice: {comparison.recommendation}", highlight=False)
    for row in comparison.general_ability:
        change = f"{row.reference:.3f} -> {row.candidate:.3f} ({row.difference:+.3f})"
        forgot = ": something was forgotten" if row.verdict == "worse" else ""
        console.print(f"General ability, {row.name}: {change}{forgot}", highlight=False)
    _print_examples(console, workspace)
    state = read_status(workspace, with_drift=False)
    for line in state.lines():
        console.print(line, highlight=False)
    report = workspace.reports / f"{comparison.candidate_model_version}.html"
    console.print(f"report      {report.address}", highlight=False)
    console.print(f"web UI      make ui   (DAGSTER_HOME={home})", highlight=False)
    console.print('search      domain-embed search "..."', highlight=False)


def _recall_table(reference: ReferenceComparison, title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("", "base", "fine-tuned", "difference, 95 % interval"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    rows = {row.metric: row for row in reference.differences}
    for k in RECALL_KS:
        row = rows[f"recall_at_{k}"]
        interval = f"{row.difference:+.3f}  [{row.interval_low:+.3f}, {row.interval_high:+.3f}]"
        table.add_row(f"Recall@{k}", f"{row.reference:.3f}", f"{row.candidate:.3f}", interval)
    return table


def _print_examples(console: Console, workspace: Workspace) -> None:
    base = workspace.stored(Evaluation, "baseline_evaluation")
    tuned = workspace.stored(Evaluation, "finetuned_evaluation")
    corpus = workspace.stored(Corpus, "corpus_chunks")
    if base is None or tuned is None or corpus is None:
        return
    titles = {chunk.chunk_id: chunk.title or chunk.text[:60] for chunk in corpus.chunks}
    after = {row.query_id: row for row in tuned.query_results}
    gains = sorted(
        (row for row in base.query_results if row.query_id in after),
        key=lambda row: (row.ndcg_at_10 - after[row.query_id].ndcg_at_10, row.query_id),
    )
    for row in gains[:_SHOWN_QUERIES]:
        console.print(f'\n"{row.text}"', style="bold", highlight=False)
        for rank, pair in enumerate(zip(row.retrieved[:3], after[row.query_id].retrieved[:3], strict=True), start=1):
            before, now = (_shown(titles[chunk_id], chunk_id in row.relevant) for chunk_id in pair)
            console.print(f"  {rank}. before  {before}\n     after   {now}", highlight=False, soft_wrap=True)
    console.print()


def _shown(title: str, is_relevant: bool) -> str:
    """A title that fits a line of 80, green when the chunk answers the query."""
    short = title if len(title) <= _TITLE_WIDTH else f"{title[: _TITLE_WIDTH - 1]}…"
    return f"[green]{short} (answers)[/]" if is_relevant else short
