from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from domain_embed_pipeline.errors import ConfigurationError, StoreLockedError
from domain_embed_pipeline.serving.store import (
    QdrantSettings,
    is_embedded,
    make_writes_fast,
    open_store,
    persist,
)
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble, running_double

VECTORS = {"dense": models.VectorParams(size=2, distance=models.Distance.COSINE)}

UPSTREAM_LEAVES_A_FILE_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The plain client's constructor does not close its lock file when somebody else has the lock."""


def settings_of(folder: Path, lock_timeout_s: float = 0.3) -> QdrantSettings:
    return QdrantSettings(path=str(folder / "qdrant"), lock_timeout_s=lock_timeout_s)


def local_connection(client: QdrantClient, collection: str) -> object:
    return client._client.collections[collection].storage.storage  # type: ignore[attr-defined]


@pytest.mark.parametrize("places", [{}, {"path": "a", "url": "http://b"}])
def test_a_store_is_a_folder_or_a_server_and_not_both(places: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="either a path or a url"):
        QdrantSettings(**places)


def test_the_key_is_not_shown_with_the_settings() -> None:
    assert "s3cret" not in repr(QdrantSettings(url="http://localhost:6333", api_key="s3cret"))


def test_an_embedded_store_is_closed_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_store(settings_of(tmp_path)):
        raise KeyError
    with open_store(settings_of(tmp_path)) as client:
        assert is_embedded(client)


def test_a_second_user_waits_and_is_then_told_which_folder_and_what_to_do(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    told = pytest.raises(StoreLockedError, match=rf"{settings.path}.*DOMAIN_EMBED_QDRANT_URL")
    with open_store(settings), told, open_store(settings):
        pass


def test_a_second_user_gets_in_when_the_first_leaves(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, lock_timeout_s=10)
    first = open_store(settings)
    first.__enter__()
    threading.Timer(0.3, lambda: first.__exit__(None, None, None)).start()
    started = time.monotonic()
    with open_store(settings):
        assert 0.2 < time.monotonic() - started < 8


@UPSTREAM_LEAVES_A_FILE_OPEN
def test_a_user_who_does_not_know_our_lock_is_waited_for_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, lock_timeout_s=10)
    stranger = QdrantClient(path=settings.path)
    threading.Timer(0.3, stranger.close).start()
    with open_store(settings) as client:
        assert is_embedded(client)


@UPSTREAM_LEAVES_A_FILE_OPEN
def test_a_stranger_who_stays_is_reported(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    stranger = QdrantClient(path=settings.path)
    with pytest.raises(StoreLockedError), open_store(settings):
        pass
    stranger.close()


@UPSTREAM_LEAVES_A_FILE_OPEN
def test_whoever_waited_sees_and_keeps_what_was_written_meanwhile(tmp_path: Path) -> None:
    """The plain client loads before it locks, so a client that waited writes back aliases from before the wait."""
    settings = settings_of(tmp_path, lock_timeout_s=10)
    with open_store(settings) as client:
        client.create_collection("one", vectors_config=VECTORS)
    stranger = QdrantClient(path=settings.path)

    def write_late() -> None:
        time.sleep(0.25)
        create = models.CreateAlias(collection_name="one", alias_name="live")
        stranger.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        stranger.upsert("one", [models.PointStruct(id=1, vector={"dense": [1.0, 0.0]})])
        stranger.close()

    thread = threading.Thread(target=write_late)
    thread.start()
    with open_store(settings) as client:
        thread.join()
        client.create_collection("two", vectors_config=VECTORS)
        assert client.count("live").count == 1
    meta = json.loads((Path(str(settings.path)) / "meta.json").read_text())
    assert meta["aliases"] == {"live": "one"}


def test_a_store_that_changed_between_loading_and_locking_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, lock_timeout_s=10)
    with open_store(settings) as client:
        client.create_collection("one", vectors_config=VECTORS)
    meta = Path(str(settings.path)) / "meta.json"
    changes = [json.loads(meta.read_text()) | {"aliases": {"live": "one"}}]
    import portalocker

    lock = portalocker.lock

    def change_then_lock(*arguments: object) -> None:
        if changes:
            meta.write_text(json.dumps(changes.pop()))
        lock(*arguments)

    monkeypatch.setattr(portalocker, "lock", change_then_lock)
    with open_store(settings) as client:
        assert [row.alias_name for row in client.get_aliases().aliases] == ["live"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, lock_timeout_s=5)
    program = f"""
        import os, signal
        from domain_embed_pipeline.serving.store import QdrantSettings, open_store
        with open_store(QdrantSettings(path={settings.path!r})):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == -9
    with open_store(settings) as client:
        assert is_embedded(client)


def test_embedded_writes_go_to_a_log_and_persist_empties_it(tmp_path: Path) -> None:
    """Characterization: the private connection that `make_writes_fast` needs is where it was in qdrant-client 1.20."""
    settings = settings_of(tmp_path)
    with open_store(settings) as client:
        client.create_collection("one", vectors_config=VECTORS)
        make_writes_fast(client, "one")
        connection = local_connection(client, "one")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)  # type: ignore[attr-defined]
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # type: ignore[attr-defined]
        client.upsert("one", [models.PointStruct(id=1, vector={"dense": [1.0, 0.0]})])
        log = Path(str(settings.path)) / "collection" / "one" / "storage.sqlite-wal"
        assert log.stat().st_size > 0
        persist(client, "one")
        assert log.stat().st_size == 0


def test_a_client_without_the_private_connection_still_works(double: QdrantDouble) -> None:
    client = QdrantClient(url=double.url, check_compatibility=False)
    make_writes_fast(client)
    persist(client, "one")
    assert not is_embedded(client)
    assert is_embedded(QdrantClient(":memory:"))


def test_a_server_gets_the_key(tmp_path: Path) -> None:
    with running_double(api_key="s3cret") as guarded:
        with (
            pytest.warns(UserWarning, match="insecure"),
            open_store(QdrantSettings(url=guarded.url, api_key="s3cret")) as client,
        ):
            assert client.get_collections().collections == []
        with open_store(QdrantSettings(url=guarded.url)) as client, pytest.raises(Exception, match="401"):
            client.get_collections()


# --- TLS ---

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="makes certificates with the openssl command")


def certificate_in(folder: Path, name: str) -> str:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    key, certificate, both = (folder / f"{name}.{part}" for part in ("key", "crt", "pem"))
    command = f"{OPENSSL} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return str(both)


@needs_openssl
def test_a_server_with_a_certificate_of_ones_own_is_reached_over_tls(tmp_path: Path) -> None:
    own = certificate_in(tmp_path, "server")
    with running_double(certificate=own) as server:
        assert server.url.startswith("https://")
        with open_store(QdrantSettings(url=server.url, ca_file=own)) as client:
            assert client.get_collections().collections == []
        with open_store(QdrantSettings(url=server.url)) as client, pytest.raises(Exception, match="CERTIFICATE_VERIFY"):
            client.get_collections()


@needs_openssl
def test_a_server_that_asks_for_our_certificate_gets_it(tmp_path: Path) -> None:
    own, ours = certificate_in(tmp_path, "server"), certificate_in(tmp_path, "ours")
    with running_double(certificate=own, accepted_client=ours) as server:
        settings = QdrantSettings(url=server.url, ca_file=own, client_cert_file=ours)
        with open_store(settings) as client:
            assert client.get_collections().collections == []
        with open_store(QdrantSettings(url=server.url, ca_file=own)) as client, pytest.raises(Exception, match="ert"):
            client.get_collections()


def test_a_certificate_for_a_server_without_tls_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        QdrantSettings(url="http://localhost:6333", ca_file="ca.pem")


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = QdrantSettings(url="https://localhost:1", ca_file=str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigurationError, match=r"missing\.pem.*QDRANT_CA_FILE"), open_store(settings):
        pass


@needs_openssl
def test_grpc_goes_to_its_port_over_the_same_tls_with_the_key(tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    from qdrant_client import grpc as messages

    seen: dict[str, str] = {}

    class Points(messages.points_service_pb2_grpc.PointsServicer):  # type: ignore[attr-defined]
        def Count(self, request: object, context: object) -> object:  # noqa: N802
            seen.update(dict(context.invocation_metadata()))  # type: ignore[attr-defined]
            return messages.CountResponse(result=messages.CountResult(count=7), time=0.0)

    own = certificate_in(tmp_path, "server")
    both = Path(own).read_bytes()
    server = grpc.server(ThreadPoolExecutor(2))
    messages.points_service_pb2_grpc.add_PointsServicer_to_server(Points(), server)  # type: ignore[attr-defined]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(both, both)]))
    server.start()
    settings = QdrantSettings(
        url="https://127.0.0.1:1", api_key="s3cret", prefer_grpc=True, grpc_port=port, ca_file=own
    )
    try:
        with open_store(settings) as client:
            assert client.count("manuals", exact=True).count == 7
    finally:
        server.stop(None)
    assert seen["api-key"] == "s3cret"
