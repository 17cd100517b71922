"""The command line, read from typer's own tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from tables import table

from domain_embed_pipeline import cli

_HEAD = """# Commands

`domain-embed COMMAND --help` says the same. Settings come from the [environment](settings.md).

"""


def commands_page() -> str:
    """Every command with its arguments and options, after the exit codes."""
    _, _, exit_codes = (cli.__doc__ or "").partition("\n\n")
    root = typer.main.get_command(cli.app)
    parts = [_HEAD, exit_codes.strip(), "\n\nOptions before the command:\n\n", _parameters(root)]
    parts += [_command(path, command) for path, command in commands_of(root)]
    return "".join(parts)


def commands_of(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """`(("questions", "import"), command)` for each command that does something."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from commands_of(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> str:
    name = " ".join(path)
    arguments = "".join(f" {parameter.name.upper()}" for parameter in command.params if _is_argument(parameter))
    usage = f"domain-embed {name} [OPTIONS]{arguments}"
    return f"\n## {name}\n\n```text\n{usage}\n```\n\n{_text(command.help)}\n\n{_parameters(command)}"


def _parameters(command: Any) -> str:
    rows = [
        (
            _names(parameter),
            "yes" if parameter.required else _default(parameter),
            " ".join((parameter.help or "").split()),
        )
        for parameter in command.params
        if not parameter.hidden
    ]
    if not rows:
        return "No options.\n"
    return table(("argument or option", "default, or yes if it must be given", "what it is"), rows)


def _names(parameter: Any) -> str:
    names = [parameter.name.upper()] if _is_argument(parameter) else [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(f"`{name}`" for name in names)


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _default(parameter: Any) -> str:
    value = parameter.default
    return f"`{value}`" if value is not None and value != "" and not callable(value) else ""


def _text(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))
