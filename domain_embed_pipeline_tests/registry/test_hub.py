"""A model version goes to a hub on the loopback interface, through the real client in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.registry.learned import learned_from_pairs, write_learned
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline_tests.registry.test_learned import CHUNKS, PUMP, pair
from domain_embed_pipeline_tests.registry.test_versions import JUDGEMENT, VERSION


class Hub:
    """What the client's upload needs of a hub: repositories, and commits of small files."""

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[str, bool] = {}
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()

    def answer(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            request = json.loads(body)
            name = "/".join(part for part in (request.get("organization"), request["name"]) if part)
            self.repositories[name] = request.get("private", request.get("visibility") == "private")
            return {"url": f"{self.url}/{name}", "name": name, "id": name}
        if path.endswith("/preupload/main"):
            rows = json.loads(body)["files"]
            return {"files": [{"path": row["path"], "uploadMode": "regular", "shouldIgnore": False} for row in rows]}
        if path.endswith("/commit/main"):
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            return {"commitUrl": f"{self.url}/team/manuals/commit/abc", "commitOid": "abc", "pullRequestUrl": None}
        return {"errors": [], "warnings": []}


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hub.tokens.add(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refused = self.headers.get("Authorization") != "Bearer hf_right"
            data = json.dumps({"error": "no"} if refused else hub.answer(self.path.partition("?")[0], body)).encode()
            self.send_response(401 if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub, hub.url
    server.shutdown()
    server.server_close()
    thread.join()


QUERY = "why does the pump leak"
CERTIFICATE = {"passed": True, "samples": [{"pair_id": "a", "anchor": f"{QUERY}?", "query": QUERY}]}


def save_version(place: str, folder: Path) -> None:
    registry = ModelRegistry(f"{place}/models", vectors_folder=folder / "vectors")

    def write(folder: Path) -> ModelVersion:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "README.md").write_text("---\nlibrary_name: sentence-transformers\n---\n# model-1\n", "utf-8")
        write_learned(folder, learned_from_pairs([pair("a", PUMP)], CHUNKS))
        spec = fingerprinted(VERSION.encoder, weights=folder_digest(str(folder)))
        return ModelVersion(
            model_version="model-1", kind="stage_one", encoder=spec, base_model="x", parent_model_version=None,
            certificate=CERTIFICATE,
        )  # fmt: skip

    registry.save(VERSION, write=write)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    save_version(str(tmp_path), tmp_path)
    return tmp_path


def push(
    artifacts: Path, endpoint: str, token: str = "hf_right", **environment: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "DOMAIN_EMBED_ARTIFACTS_PATH": str(artifacts), "HF_ENDPOINT": endpoint, "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "0", "HF_HOME": str(artifacts / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "domain_embed_pipeline.cli", "push", "model-1", "team/manuals"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_version_is_pushed_with_its_card_and_without_the_names_of_your_documents(
    artifacts: Path, hub: tuple[Hub, str]
) -> None:
    result = push(artifacts, hub[1])
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{hub[1]}/team/manuals/commit/abc"
    assert hub[0].repositories == {"team/manuals": True}
    assert set(hub[0].files) == {"model.safetensors", "README.md", "manifest.json"}
    assert hub[0].files["model.safetensors"] == b"weights"
    assert b"pump.md" not in b"".join(hub[0].files.values())
    manifest = json.loads(hub[0].files["manifest.json"])
    assert (manifest["model_version"], manifest["certificate"]) == ("model-1", {"passed": True}), "no question is told"


def test_a_version_in_a_bucket_is_pushed_with_the_same_files_and_its_current_manifest(
    tmp_path: Path, hub: tuple[Hub, str]
) -> None:
    place, local = f"file://{tmp_path}/stored", tmp_path / "local"
    save_version(place, tmp_path)
    ModelRegistry(f"{place}/models", vectors_folder=tmp_path / "vectors").judge("model-1", JUDGEMENT)
    result = push(tmp_path, hub[1], DOMAIN_EMBED_ARTIFACTS_PATH=place, DOMAIN_EMBED_LOCAL_PATH=str(local))
    assert result.returncode == 0, result.stderr
    assert set(hub[0].files) == {"model.safetensors", "README.md", "manifest.json"}
    manifest = json.loads(hub[0].files["manifest.json"])
    assert manifest["judgement"]["verdict"] == "better"
    assert "files" not in manifest, "where they lie in the bucket"
    assert b"**better**" in hub[0].files["README.md"]


def test_a_hub_that_refuses_says_what_to_check(artifacts: Path, hub: tuple[Hub, str]) -> None:
    result = push(artifacts, hub[1], token="hf_wrong")
    assert result.returncode == 10
    assert "HF_TOKEN" in result.stderr
    assert "hf_wrong" not in result.stderr
    assert hub[0].files == {}


def test_a_hub_that_is_switched_off_is_not_asked(artifacts: Path, hub: tuple[Hub, str]) -> None:
    result = push(artifacts, hub[1], HF_HUB_OFFLINE="1")
    assert (result.returncode, "HF_HUB_OFFLINE" in result.stderr) == (2, True)
    assert hub[0].tokens == set()
