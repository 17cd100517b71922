"""Every command in the documents that can run here is run, page by page, as a reader would."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.docs.blocks import blocks_of, files_of, pages, scenario_of
from domain_embed_pipeline_tests.docs.running import make_desk, run_blocks, write_two_live_versions
from domain_embed_pipeline_tests.fake_messages_server import FakeMessagesServer

PAGES = [
    page for page in pages() if scenario_of(page) and any("not run" not in b.marks for b in blocks_of(page, "bash"))
]


@pytest.fixture(scope="module")
def live_artifacts(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    return write_two_live_versions(tmp_path_factory.mktemp("live"), tiny_model)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_run(
    page: Path, tmp_path: Path, tiny_model: str, request: pytest.FixtureRequest
) -> None:
    environment = make_desk(tmp_path, tiny_model)
    for name, text in files_of(page).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        if scenario_of(page) == "live":
            live = request.getfixturevalue("live_artifacts")
            shutil.copytree(live, tmp_path / "data" / "artifacts", dirs_exist_ok=True)
        if scenario_of(page) == "asking":
            environment["ANTHROPIC_BASE_URL"] = stack.enter_context(FakeMessagesServer()).base_url
        run_blocks(blocks_of(page, "bash"), tmp_path, environment, timeout_s=1100)


def test_a_failing_command_fails_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nexport HERE=there\n```\n```bash\ntest $HERE = elsewhere\n```\n```bash\necho after\n```\n",
        encoding="utf-8",
    )
    environment = {"PATH": "/usr/bin:/bin"}
    with pytest.raises(AssertionError, match=r"page\.md:4"):
        run_blocks(blocks_of(page, "bash", root=tmp_path), tmp_path, environment, timeout_s=30)
