from __future__ import annotations

import json
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
