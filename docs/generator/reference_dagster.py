"""Assets, checks, run knobs, profiles, jobs, schedules and sensors, as Dagster knows them."""

from __future__ import annotations

from typing import Any

import dagster as dg
import yaml
from tables import bounds, default, table, type_name

from domain_embed_pipeline.definitions import defs
from domain_embed_pipeline.defs.profiles import PROFILES, run_config_of

_ASSETS = """# Assets

In the order of the flow. A blocking check stops the run before anything behind it.
"""
_KNOBS = """# Run knobs and profiles

What differs from run to run: in the launchpad of a job, or under `ops: {ASSET: {config: {KNOB: VALUE}}}` in run config.
A knob out of its bounds stops the run before it starts.
"""
_JOBS = "# Jobs, schedules and sensors\n"


def assets_page() -> str:
    """Every asset with what it reads, its checks, pool and knobs."""
    graph = defs.resolve_asset_graph()
    parts = [_ASSETS]
    group = ""
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if node.group_name != group:
            group = node.group_name
            parts.append(f"## Group {group}\n")
        parts.append(_asset(graph, key))
    return "\n".join(parts)


def _asset(graph: Any, key: dg.AssetKey) -> str:
    node, name = graph.get(key), key.to_user_string()
    lines = [f"### {name}\n", f"{_paragraphs(node.description)}\n"]
    parents = ", ".join(f"[{parent}](#{parent})" for parent in sorted(k.to_user_string() for k in node.parent_keys))
    pool = node.assets_def.op.pool
    lines.append(f"- reads: {parents or 'nothing'}")
    if pool:
        lines.append(f"- pool: `{pool}`")
    if _config_class(node.assets_def) is not None:
        lines.append(f"- knobs: [{name}](knobs.md#{name})")
    for check in sorted(graph.asset_check_keys, key=lambda check: check.name):
        if check.asset_key == key:
            check_node = graph.get(check)
            kind = "blocking check" if check_node.blocking else "check"
            lines.append(f"- {kind} `{check.name}`: {_paragraphs(check_node.description)}")
    return "\n".join(lines) + "\n"


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _config_class(assets_def: dg.AssetsDefinition) -> type[dg.Config] | None:
    function = getattr(assets_def.op.compute_fn, "decorated_fn", None)
    annotation = getattr(function, "__annotations__", {}).get("config")
    return annotation if isinstance(annotation, type) and issubclass(annotation, dg.Config) else None


def knobs_page() -> str:
    """The knobs of each asset, then the profiles."""
    graph = defs.resolve_asset_graph()
    parts = [_KNOBS]
    for key in graph.toposorted_asset_keys:
        config = _config_class(graph.get(key).assets_def)
        if config is not None:
            rows = [
                (f"`{name}`", type_name(field.annotation), default(field), bounds(field), field.description or "")
                for name, field in config.model_fields.items()
            ]
            parts.append(f"## {key.to_user_string()}\n")
            parts.append(table(("knob", "type", "default", "bounds", "what it does, what breaks"), rows))
    parts.append("## Profiles\n\nWhat a profile does not name has the default above.\n")
    for name in PROFILES:
        config = run_config_of(name)
        body = yaml.safe_dump(config, sort_keys=False) if config["ops"] else "ops: {}  # the defaults\n"
        parts.append(f"### Profile {name}\n\n```yaml\n{body}```\n")
    return "\n".join(parts)


def jobs_page() -> str:
    """Jobs with what they materialize, schedules with their times, sensors with their targets."""
    repository = defs.get_repository_def()
    parts = [_JOBS]
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            parts.append(f"## {job.name}\n\n{_paragraphs(job.description)}\n")
            parts.append(f"{_steps_of(job)}\n")
    parts.append("## Schedules\n")
    rows = [
        (f"`{each.name}`", str(each.cron_schedule), each.execution_timezone or "UTC", _status(each),
         _paragraphs(each.description))
        for each in repository.schedule_defs
    ]  # fmt: skip
    parts.append(table(("schedule", "cron", "time zone", "at first", "what it does"), rows))
    if repository.sensor_defs:
        parts.append("## Sensors\n")
        rows = [
            (f"`{each.name}`", f"{each.minimum_interval_seconds or 30} s", _status(each), _paragraphs(each.description))
            for each in repository.sensor_defs
        ]
        parts.append(table(("sensor", "looks every", "at first", "what it does"), rows))
    return "\n".join(parts)


def _steps_of(job: dg.JobDefinition) -> str:
    keys = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
    if not keys:
        return f"Steps: {', '.join(f'`{node.name}`' for node in job.nodes)}."
    return f"Materializes {', '.join(f'[{key}](assets.md#{key})' for key in keys)}."


def _status(each: Any) -> str:
    return "on" if each.default_status.value == "RUNNING" else "off"
