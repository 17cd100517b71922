"""Deployment settings: what the environment or `.env` may say."""

from __future__ import annotations

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from tables import bounds, default, table, type_name

from domain_embed_pipeline.settings import DeploymentSettings

_HEAD = """# Settings

Where things live and whom to call. Each is read from the environment, then from `.env` in the working directory.
`domain-embed doctor` shows what is in force. What differs from run to run is a [run knob](knobs.md), not a setting.

"""
_OTHERS = [
    ("DAGSTER_HOME", "`.dagster_home` here", "Folder of Dagster's history; an absolute path."),
    ("HF_HUB_OFFLINE", "", "`1`: never ask the model hub; base models come from folders or installed packages."),
    ("CUDA_VISIBLE_DEVICES", "", "Which GPUs a process sees."),
]


def settings_page() -> str:
    """One row a variable, in the order of the class."""
    rows = [
        (", ".join(f"`{name}`" for name in variables_of(name, field)), type_name(field.annotation), default(field),
         bounds(field), field.description or "")
        for name, field in DeploymentSettings.model_fields.items()
    ]  # fmt: skip
    header = ("variable", "type", "default", "bounds", "what it is")
    others = table(("variable", "default", "what it is"), [(f"`{name}`", *rest) for name, *rest in _OTHERS])
    return f"{_HEAD}{table(header, rows)}\n## Variables of others that matter here\n\n{others}"


def variables_of(name: str, field: FieldInfo) -> list[str]:
    """Environment variables that set a field; the first one found wins."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices if str(choice).isupper()]
    return [f"{DeploymentSettings.model_config['env_prefix']}{name.upper()}"]
