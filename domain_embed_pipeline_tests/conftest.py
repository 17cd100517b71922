"""What every test gets: no hub, few threads, and an environment that says nothing about a deployment."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from domain_embed_pipeline_tests.places import s3_server

# Before torch or transformers is imported anywhere.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

__all__ = ["s3_server"]
_FORBIDDEN_PREFIXES = ("DOMAIN_EMBED_", "ANTHROPIC_")
_ALLOWED = ("DOMAIN_EMBED_TEST_",)
ROOT = Path(__file__).resolve().parent.parent

# A deadline of wall-clock milliseconds fails on a machine that is busy with something else.
hypothesis_settings.register_profile("no_deadline", deadline=None)
hypothesis_settings.load_profile("no_deadline")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No deployment variables, a working directory in which no `.env` lies, and logs as nobody has set them."""
    logging.getLogger("domain_embed_pipeline").setLevel(logging.NOTSET)
    for name in list(os.environ):
        if name.startswith(_FORBIDDEN_PREFIXES) and not name.startswith(_ALLOWED):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny real model whose vocabulary is the planted words; usable as a base model's name."""
    from domain_embed_pipeline_tests.tiny_model import build_tiny_model, planted_words

    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny", planted_words())
