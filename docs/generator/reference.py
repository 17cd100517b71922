"""The generated pages: path in the site -> function that writes its Markdown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reference_code import errors_page, metrics_page
from reference_commands import commands_page
from reference_dagster import assets_page, jobs_page, knobs_page
from reference_settings import settings_page

PAGES: dict[str, Callable[[], str]] = {
    "settings": settings_page,
    "knobs": knobs_page,
    "assets": assets_page,
    "jobs": jobs_page,
    "commands": commands_page,
    "metrics": metrics_page,
    "errors": errors_page,
}


def write_pages(docs: Path) -> None:
    """Write each page under `docs/reference`, unless it stands there as it would be written."""
    folder = docs / "reference"
    folder.mkdir(exist_ok=True)
    for name, make_page in PAGES.items():
        path, text = folder / f"{name}.md", make_page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
