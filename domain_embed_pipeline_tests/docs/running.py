"""Running a page's blocks as a reader would: one shell, in a copy of the project, with a tiny corpus and model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.docs.blocks import Block
from domain_embed_pipeline_tests.planted_corpus import PlantedCorpus, write_planted_corpus
from domain_embed_pipeline_tests.test_end_to_end import RUN_CONFIG, TRAINING

SCENARIOS = {
    "planted": "documents, queries, clicks and recorded questions; nothing has run yet",
    "asking": "as planted, with a server that speaks the Messages API",
    "live": "two model versions went live, one after the other",
}
_COPIED = (
    "Makefile", "pyproject.toml", "constraints.txt", "dagster.yaml", "workspace.yaml", ".env.example", "deploy",
    "domain_embed_pipeline",
)  # fmt: skip
_PROLOGUE = """
set -euo pipefail
servers=()
trap 'for server in "${servers[@]:-}"; do [ -z "$server" ] || kill -- -"$server" 2>/dev/null || true; done' EXIT
wait_for_port() {
  for _ in $(seq 240); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    sleep 0.5
  done
  echo "nothing listens on port $1" >&2
  return 1
}
"""


def make_desk(folder: Path, base_model: str) -> dict[str, str]:
    """A copy of the project with planted data in `folder`; returns the environment for its commands."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    _write_data(folder)
    _link_environment(folder / ".venv")
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(folder / name, (0, 0))  # older than .venv/.ready, so that make installs nothing
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DOMAIN_EMBED_", "ANTHROPIC_"))
    }
    return environment | {
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DAGSTER_HOME": str(folder / ".dagster_home"),
        "DOMAIN_EMBED_CORPUS_PATH": "documents",
        "DOMAIN_EMBED_QUERIES_PATH": "queries",
        "DOMAIN_EMBED_ARTIFACTS_PATH": "data/artifacts",
        "DOMAIN_EMBED_BASE_MODEL": base_model,
        "OMP_NUM_THREADS": "1",
    }


def _write_data(folder: Path) -> PlantedCorpus:
    planted = write_planted_corpus(folder)
    planted.corpus.rename(folder / "documents")
    (folder / "data" / "artifacts").mkdir(parents=True)
    shutil.copy(folder / "questions.jsonl", folder / "data" / "questions.jsonl")
    shutil.copytree(planted.queries, folder / "benchmark")
    shutil.copy(folder / "documents" / "corpus.jsonl", folder / "benchmark")
    asked = map(json.loads, planted.questions.read_text(encoding="utf-8").splitlines())
    clicks = "".join(f"{row['natural']} please,{row['chunk_id']},3\n" for row in asked)
    (folder / "clicks.csv").write_text(f"query,chunk_id,score\n{clicks}", encoding="utf-8")
    return planted


def _link_environment(folder: Path) -> None:
    """A virtual environment that is this one; only `.ready` is its own."""
    folder.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".ready":
            (folder / entry.name).symlink_to(entry)
    (folder / ".ready").touch()


def script_of(blocks: list[Block]) -> str:
    """One shell script of a page's blocks; exports of one block hold for the next."""
    parts = [_PROLOGUE]
    for block in blocks:
        if "not run" in block.marks:
            continue
        parts.append(f"echo '== {block.place}' >&2")
        if port := block.marks.get("background"):
            parts.append(f"setsid bash -c {_quoted(block.text)} & servers+=($!); wait_for_port {port}")
        elif codes := block.marks.get("exit codes"):
            tests = " || ".join(f"[ $code = {code} ]" for code in codes.split())
            parts.append(f"set +e\n{block.text}\ncode=$?; set -e; {tests}")
        else:
            parts.append(block.text)
    return "\n".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.strip().replace("'", "'\\''") + "'"


def run_blocks(blocks: list[Block], folder: Path, environment: dict[str, str], *, timeout_s: float) -> str:
    """Run the blocks; returns what they printed.

    Raises:
        AssertionError: With the end of the output, if a block failed.
    """
    script = folder / "blocks.sh"
    script.write_text(script_of(blocks), encoding="utf-8")
    done = subprocess.run(
        ["bash", str(script)], cwd=folder, env=environment, timeout=timeout_s, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def write_two_live_versions(folder: Path, base_model: str) -> Path:
    """Artifacts of a deployment in which two models went live, one after the other, for pages about what is live."""
    environment = make_desk(folder, base_model)
    ops = RUN_CONFIG["ops"]
    short = {
        "stage_one_model": {"config": {**TRAINING, "max_steps": 3}},
        "finetuned_model": {"config": {"enabled": False}},
    }
    for name, config in (("first", ops), ("second", ops | short)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"ops": config}), encoding="utf-8")
    script = """
        domain-embed questions import questions.jsonl
        domain-embed run --quiet --config first.yaml
        domain-embed run --quiet --config second.yaml || [ $? = 20 ]
        domain-embed run --quiet --job promote_job --override-reason "a second version for the documents"
    """
    block = Block("two live versions", 1, "bash", script, {})
    run_blocks([block], folder, environment, timeout_s=600)
    return folder / "data" / "artifacts"
