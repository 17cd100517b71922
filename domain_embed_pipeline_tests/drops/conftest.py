"""A deployment with documents for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline_tests.drops.scenario import Place, place_of


@pytest.fixture
def place(tmp_path: Path, tiny_model: str) -> Place:
    place = place_of(tmp_path, tiny_model)
    for document in range(4):
        place.write(f"handbook-{document}.md", *range(document * 5, document * 5 + 5))
    return place
