from __future__ import annotations

from pathlib import Path

import pytest

from domain_embed_pipeline_tests.bench.scenario import BeirFolder, write_beir_folder


@pytest.fixture
def beir(tmp_path: Path) -> BeirFolder:
    return write_beir_folder(tmp_path)
