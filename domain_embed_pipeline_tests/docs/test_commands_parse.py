"""Every command in the documents names a program, options, targets and settings that exist."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
import typer
import yaml

from domain_embed_pipeline.cli import app
from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.docs.blocks import Block, Command, blocks_of, commands_of, pages, scenario_of
from domain_embed_pipeline_tests.docs.running import SCENARIOS

BLOCKS = [block for page in pages() for block in blocks_of(page, "bash")]
COMMANDS = [command for block in BLOCKS for command in commands_of(block)]
OUR_VARIABLE = re.compile(r"\b(?:DOMAIN_EMBED_\w+|ANTHROPIC_\w+)\b")


def _known_variables() -> set[str]:
    prefix = DeploymentSettings.model_config["env_prefix"]
    aliases = {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"}
    return {f"{prefix}{name.upper()}" for name in DeploymentSettings.model_fields} | aliases


def test_the_documents_have_commands() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    reason = block.marks.get("not run", "")
    assert scenario_of(ROOT / block.page) in SCENARIOS or len(reason) > 10, "name a scenario on the page, or a reason"
    assert block.marks.keys() <= {"not run", "background", "exit codes", "commands"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.place} {' '.join(command.words)[:40]}")
def test_a_command_is_sound(command: Command) -> None:
    require_sound(command)


def require_sound(command: Command) -> None:
    """Programs, subcommands, options, make targets and our settings exist."""
    for name in command.variables:
        assert not OUR_VARIABLE.match(name) or name in _known_variables(), f"{name} is no setting"
    if not command.words:
        return
    program, *arguments = command.words
    name = Path(program).name
    if name == "domain-embed":
        _require_parses(arguments)
    elif name == "make":
        _require_targets(arguments)
    elif name.startswith("dagster"):
        _require_dagster_command(name, arguments)
    elif (ROOT / program).is_file():
        assert (ROOT / program).stat().st_mode & 0o111
    else:
        known = {"cp", "export", "cd", "docker", "kubectl", "curl", "pip", "git", "mkdir", "mv", "cat", "ollama", "ray"}
        assert name in known or shutil.which(name), f"{program} is no program"


def _require_parses(arguments: list[str]) -> None:
    """Names, options and values, without running anything."""
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", None)) and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in commands, f"there is no command {arguments[0]}"
        command, arguments = commands[arguments[0]], arguments[1:]
    for argument in arguments:
        if re.fullmatch(r"[\w.-]+\.(yaml|jsonl|csv|json|html)", argument):
            Path(argument).touch()  # the working folder is a temporary one
    command.make_context("domain-embed", arguments)


def _require_targets(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for argument in arguments:
        assert "=" in argument or re.search(rf"^{argument}:", makefile, re.M), f"make {argument} is no target"


def _require_dagster_command(name: str, arguments: list[str]) -> None:
    if name == "dagster":
        from dagster._cli import create_dagster_cli

        command = create_dagster_cli()
        while getattr(command, "commands", None) and arguments and not arguments[0].startswith("-"):
            assert arguments[0] in command.commands, arguments[0]
            command, arguments = command.commands[arguments[0]], arguments[1:]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")} - options
        assert not unknown, f"{name} has no options {unknown}"
    else:
        assert (Path(sys.prefix) / "bin" / name).exists(), f"{name} is not installed"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = set(OUR_VARIABLE.findall(page.read_text(encoding="utf-8")))
    unknown = {name for name in named - _known_variables() if not name.endswith("_") and "_TEST_" not in name}
    assert not unknown


RUN_CONFIGS = [
    (block, match[1])
    for page in pages()
    for block in blocks_of(page, "yaml")
    if (match := re.match(r"# run config of (\w+)\n", block.text))
]


@pytest.mark.parametrize(("block", "job"), RUN_CONFIGS, ids=lambda value: getattr(value, "place", value))
def test_run_config_in_the_documents_is_accepted_by_its_job(block: Block, job: str) -> None:
    assert dg.validate_run_config(defs.resolve_job_def(job), yaml.safe_load(block.text))


def test_every_python_block_compiles() -> None:
    for page in pages():
        for block in blocks_of(page, "python"):
            compile(block.text, block.place, "exec")
