"""Places where artifacts may lie: a folder, a `file://` URL, the memory of this process, an S3 server.

The S3 server is moto on loopback, spoken to by s3fs over HTTP; its tests are skipped where the two are not installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

URLS = ("file", "memory", "s3")
KINDS = ("folder", *URLS)
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def running_s3() -> Iterator[dict[str, str]]:
    """An S3 server; yields the environment with which a process of any kind speaks to it."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    # It logs every request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield {**_KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """One server for all tests of a process."""
    with running_s3() as environment:
        yield environment


def empty_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """An empty place of one of `KINDS`."""
    if kind == "s3":
        environment: dict[str, str] = request.getfixturevalue("s3_server")
        patched: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for name, value in environment.items():
            patched.setitem(os.environ, name, value)
        return f"s3://{new_bucket()}/team"
    if kind == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return f"file://{folder}/stored" if kind == "file" else str(folder / "stored")


def new_bucket() -> str:
    """Make a bucket on the server that the environment names."""
    import s3fs

    name = f"artifacts-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return name
