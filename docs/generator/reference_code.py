"""Measures, verdict and errors, from the code that computes and raises them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from tables import first_sentence, table

from domain_embed_pipeline import errors
from domain_embed_pipeline.defs import metadata
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.evaluation import metrics, statistics
from domain_embed_pipeline.evaluation.comparison import ComparisonSettings
from domain_embed_pipeline.evaluation.records import METRICS

_METRICS = """# Metrics

Means over the queries of one split. The same keys are on `baseline_evaluation`, `serving_evaluation` and
`finetuned_evaluation`, so that the UI plots each over materializations; with the prefix `served_` they are those of the
retrieval mode that would be served.

"""
_VERDICT = """
## Verdict

`better`, `not_shown` or `worse`; see [why a verdict](../explanation/verdict.md).

"""
_ERRORS = """# Errors and exit codes

Every error of the project names the culprit, its value and the fix; the command line prints it as one line and ends
with the exit code of its family. 0 is done, 1 is anything else, 20 means that the run ended well and the candidate was
not shown to be better, 130 that it was interrupted.

"""


def metrics_page() -> str:
    """Keys, definitions, and how intervals and verdict are computed."""
    rows = [(f"`{key}`", _definition(key)) for key in METRICS]
    settings = [
        (f"`{name}`", f"`{getattr(ComparisonSettings(), name)}`") for name in ComparisonSettings.__dataclass_fields__
    ]
    functions = [
        (f"`{name}`", first_sentence(inspect.getdoc(function)))
        for name, function in inspect.getmembers(statistics, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == statistics.__name__
    ]
    return (
        _METRICS + table(("key", "definition"), rows)
        + _VERDICT + table(("rule", "value"), settings)
        + "\n## Statistics\n\n" + table(("function of `evaluation.statistics`", "what it does"), functions)
        + f"\n## Other metadata\n\n{_paragraph(metadata.__doc__)}\n"
    )  # fmt: skip


def _definition(key: str) -> str:
    kind, _, k = key.rpartition("_at_")
    function = getattr(metrics, f"{kind}_at_k")
    return f"k = {k}. {first_sentence(inspect.getdoc(function))}"


def _paragraph(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def errors_page() -> str:
    """The family, outermost first."""
    rows = [
        (f"{'&nbsp;' * 4 * depth}`{error.__name__}`", str(error.exit_code), first_sentence(inspect.getdoc(error)))
        for depth, error in _family(DomainEmbedError, 0)
        if error.__module__ == errors.__name__
    ]
    return _ERRORS + table(("error", "exit code", "when"), rows)


def _family(error: type[DomainEmbedError], depth: int) -> Iterator[tuple[int, type[DomainEmbedError]]]:
    yield depth, error
    for child in error.__subclasses__():
        yield from _family(child, depth + 1)
