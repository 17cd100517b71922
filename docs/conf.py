"""The documentation site: `make docs` builds it into build/docs. Pages under reference/ are made from the code."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "generator"), str(HERE.parent)]

from reference import write_pages  # noqa: E402

from domain_embed_pipeline import __version__  # noqa: E402

project = "domain_embed_pipeline"
version = release = __version__
project_copyright = "domain_embed_pipeline authors, Apache-2.0"
extensions = ["myst_parser"]
exclude_patterns = ["generator", "reference/README.md"]
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = "domain_embed_pipeline"
html_show_sourcelink = False

write_pages(HERE)
