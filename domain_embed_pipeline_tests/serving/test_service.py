from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.service import create_app
from domain_embed_pipeline.serving.service_settings import ServiceSettings
from domain_embed_pipeline.serving.store import QdrantSettings
from domain_embed_pipeline_tests.serving.conftest import Place
from domain_embed_pipeline_tests.serving.scenario import (
    ALIAS,
    HYBRID,
    QUICK,
    WordEncoder,
    chunks_of,
    dense_ranking,
    plan_of,
)

CHUNKS = chunks_of(40)
OLD, NEW = WordEncoder("model-old", seed=1), WordEncoder("model-new", seed=2)
QUERY = "how do I clean the pump"
KEY = "correct-horse-battery"


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    place = Place(QdrantSettings(path=str(tmp_path / "qdrant"), lock_timeout_s=5), tmp_path / "locks")
    place.go_live(plan_of(OLD, CHUNKS), CHUNKS, OLD)
    return place


def retriever_of(place: Place) -> Retriever:
    encoders = {encoder.spec.model_version: encoder for encoder in (OLD, NEW)}
    return Retriever(place.settings, ALIAS, lambda spec: encoders[spec.model_version], retries=QUICK)


@pytest.fixture
def client(folder: Place) -> Iterator[TestClient]:
    with TestClient(create_app(retriever_of(folder))) as client:
        yield client


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store that no test changes."""
    folder = tmp_path_factory.mktemp("lasting")
    place = Place(QdrantSettings(path=str(folder / "qdrant"), lock_timeout_s=5), folder / "locks")
    place.go_live(plan_of(OLD, CHUNKS), CHUNKS, OLD)
    return place


@pytest.fixture(scope="module")
def guarded(lasting: Place) -> Iterator[TestClient]:
    with TestClient(create_app(retriever_of(lasting), ServiceSettings(api_keys=("other-key-1", KEY)))) as client:
        yield client


@pytest.fixture(scope="module")
def exposed(lasting: Place) -> Iterator[TestClient]:
    """One service for all hostile input, which it must outlive."""
    with TestClient(create_app(retriever_of(lasting))) as client:
        yield client


# --- answers ---


def test_a_search_over_http_gives_what_the_retriever_gives(client: TestClient, folder: Place) -> None:
    answer = client.post("/search", json={"query": QUERY, "k": 4})
    assert answer.status_code == 200
    hits = answer.json()["hits"]
    assert [hit["chunk_id"] for hit in hits] == dense_ranking(OLD, CHUNKS, QUERY)[:4]
    assert hits[0].keys() >= {"text", "title", "source", "score", "document_ids", "collection", "model_version"}
    with retriever_of(folder) as retriever:
        assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in retriever.search(QUERY, 4)])


def test_a_filter_goes_through(exposed: TestClient) -> None:
    hits = exposed.post("/search", json={"query": QUERY, "filter": {"source": ["manual-2.md"]}}).json()["hits"]
    assert {hit["source"] for hit in hits} == {"manual-2.md"}


def test_embeddings_have_the_shape_that_openai_clients_expect(exposed: TestClient) -> None:
    answer = exposed.post(
        "/v1/embeddings", json={"input": ["one pump", "two valves"], "model": "text-embedding-3-small"}
    )
    body = answer.json()
    assert (body["object"], body["model"]) == ("list", "model-old")
    assert [row["index"] for row in body["data"]] == [0, 1]
    expected = OLD.encode_queries(["one pump", "two valves"])
    assert np.allclose([row["embedding"] for row in body["data"]], expected, atol=1e-6)


def test_embeddings_come_as_base64_when_asked(exposed: TestClient) -> None:
    answer = exposed.post("/v1/embeddings", json={"input": "one pump", "encoding_format": "base64"})
    vector = np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), dtype="<f4")
    assert np.allclose(vector, OLD.encode_queries(["one pump"])[0])


def test_passages_are_encoded_as_passages(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    encode = OLD.encode_passages
    monkeypatch.setattr(OLD, "encode_passages", lambda texts: seen.extend(texts) or encode(texts))
    with TestClient(create_app(retriever_of(folder))) as client:
        client.post("/v1/embeddings", json={"input": "a query"})
        client.post("/v1/embeddings", json={"input": "a passage", "input_type": "passage"})
    assert seen == ["a passage"]


def test_the_model_that_answers_is_listed(exposed: TestClient) -> None:
    assert exposed.get("/v1/models").json()["data"][0]["id"] == "model-old"


def test_metrics_count_answers_and_name_what_is_live(client: TestClient) -> None:
    client.post("/search", json={"query": QUERY})
    client.post("/search", json={"query": QUERY, "k": 0})
    text = client.get("/metrics").text
    assert 'domain_embed_requests_total{route="/search",status="200"} 1.0' in text
    assert 'domain_embed_requests_total{route="/search",status="400"} 1.0' in text
    assert 'model_version="model-old"} 1.0' in text


def test_unknown_paths_do_not_make_new_time_series(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/wp-admin/{number}")
    text = client.get("/metrics").text
    assert "wp-admin" not in text
    assert 'domain_embed_requests_total{route="other",status="404"} 20.0' in text


def test_a_swap_is_noticed_without_a_restart(client: TestClient, folder: Place) -> None:
    client.post("/search", json={"query": QUERY})
    folder.go_live(plan_of(NEW, CHUNKS, mode=HYBRID), CHUNKS, NEW)
    assert client.post("/search", json={"query": QUERY}).json()["hits"][0]["model_version"] == "model-new"
    assert client.post("/v1/embeddings", json={"input": "x"}).json()["model"] == "model-new"
    metrics = client.get("/metrics").text
    assert 'model_version="model-new"' in metrics and 'model_version="model-old"' not in metrics


def test_health_tells_a_service_without_index_from_one_with(client: TestClient, tmp_path: Path) -> None:
    assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "ok"})
    empty = Place(QdrantSettings(path=str(tmp_path / "empty")), tmp_path)
    with TestClient(create_app(retriever_of(empty))) as without:
        assert (without.get("/health").status_code, without.get("/health").json()) == (503, {"status": "unavailable"})
        answer = without.post("/search", json={"query": QUERY})
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text and ALIAS not in answer.text


# --- keys ---

ROUTES = [
    ("POST", "/search", {"query": QUERY}),
    ("POST", "/v1/embeddings", {"input": "x"}),
    ("GET", "/v1/models", None),
    ("GET", "/metrics", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong-key-123"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"api-key": "wrong"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
    ids=str,
)
def test_no_key_and_wrong_keys_are_refused(
    guarded: TestClient, method: str, path: str, body: Any, headers: dict[str, Any]
) -> None:
    answer = guarded.request(method, path, json=body, headers=headers)
    assert answer.status_code == 401
    assert KEY not in answer.text and "model" not in answer.text


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"api-key": KEY}], ids=str)
@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_the_right_key_opens_every_route(
    guarded: TestClient, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    assert guarded.request(method, path, json=body, headers=headers).status_code == 200


def test_health_needs_no_key_and_tells_nothing(guarded: TestClient) -> None:
    assert guarded.get("/health").json() == {"status": "ok"}


def test_a_key_that_is_easily_guessed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="less than 8"):
        ServiceSettings(api_keys=("short",))


def test_keys_are_not_shown_with_the_settings() -> None:
    assert KEY not in repr(ServiceSettings(api_keys=(KEY,)))


# --- hostile input ---


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {}),
        ("/search", []),
        ("/search", None),
        ("/search", "text"),
        ("/search", {"query": None}),
        ("/search", {"query": 7}),
        ("/search", {"query": ["a"]}),
        ("/search", {"query": {"$ne": ""}}),
        ("/search", {"query": "  "}),
        ("/search", {"query": "x" * 8_001}),
        ("/search", {"query": QUERY, "k": 0}),
        ("/search", {"query": QUERY, "k": -5}),
        ("/search", {"query": QUERY, "k": 10**9}),
        ("/search", {"query": QUERY, "k": 10**400}),
        ("/search", {"query": QUERY, "k": "10"}),
        ("/search", {"query": QUERY, "k": 1.5}),
        ("/search", {"query": QUERY, "k": True}),
        ("/search", {"query": QUERY, "filter": []}),
        ("/search", {"query": QUERY, "filter": {"source": {"$gt": ""}}}),
        ("/search", {"query": QUERY, "filter": {"source": []}}),
        ("/search", {"query": QUERY, "filter": {"a[": "x"}}),
        ("/search", {"query": QUERY, "filter": {"../../etc": "x"}}),
        ("/search", {"query": QUERY, "filter": {"source": ["x"] * 101}}),
        ("/search", {"query": QUERY, "filter": {f"k{number}": "x" for number in range(21)}}),
        ("/search", {"query": QUERY, "collection": "somebody-elses"}),
        ("/search", {"query": QUERY, "alias": "../../secrets"}),
        ("/v1/embeddings", {}),
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {"input": [1, 2]}),
        ("/v1/embeddings", {"input": [[1, 2]]}),
        ("/v1/embeddings", {"input": ["ok", ""]}),
        ("/v1/embeddings", {"input": ["x"] * 257}),
        ("/v1/embeddings", {"input": ["x"] * 10_000}),
        ("/v1/embeddings", {"input": "x" * 32_001}),
        ("/v1/embeddings", {"input": "half a character \ud800"}),
        ("/v1/embeddings", {"input": "x", "model": "../../../etc/passwd"}),
        ("/v1/embeddings", {"input": "x", "model": "model\u0000"}),
        ("/v1/embeddings", {"input": "x", "model": "m" * 129}),
        ("/v1/embeddings", {"input": "x", "encoding_format": "pickle"}),
        ("/v1/embeddings", {"input": "x", "dimensions": 7}),
        ("/v1/embeddings", {"input": "x", "input_type": "both"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_input_that_makes_no_sense_is_refused_and_not_repeated(exposed: TestClient, path: str, body: Any) -> None:
    answer = exposed.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert len(answer.content) < 2_000
    for part in ("passwd", "secrets", "somebody-elses", "Traceback", "site-packages"):
        assert part not in answer.text
    assert exposed.post("/search", json={"query": QUERY}).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'{"query": "\\ud800"}',
        b"[" * 100_000,
        b'{"query": NaN}',
        b'{"query": "a", "query": 7}',
    ],
    ids=["empty", "cut off", "not utf-8", "lone surrogate", "deep", "nan", "twice"],
)
def test_bodies_that_are_not_sound_json_are_refused(exposed: TestClient, content: bytes) -> None:
    answer = exposed.post("/search", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert exposed.get("/health").status_code == 200


def test_a_body_that_is_too_large_is_refused_by_what_it_says_and_by_what_it_is(exposed: TestClient) -> None:
    large = json.dumps({"query": "x" * 3_000_000}).encode()
    assert exposed.post("/search", content=large).status_code == 413

    def unannounced() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    assert exposed.post("/search", content=unannounced()).status_code == 413
    assert exposed.post("/search", json={"query": QUERY}).status_code == 200


def test_words_that_mean_something_to_others_are_only_words_here(exposed: TestClient) -> None:
    for query in (
        "'; DROP TABLE points; --",
        "../../etc/passwd",
        "{{7*7}}",
        "<script>",
        "\u202e\u0000 pump",
        "🚰" * 100,
    ):
        assert exposed.post("/search", json={"query": query}).status_code == 200


def test_paths_that_try_to_climb_find_nothing(exposed: TestClient) -> None:
    for path in (
        "/../../etc/passwd",
        "/v1/models/../../secrets",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/docs",
        "/openapi.json",
    ):
        assert exposed.get(path).status_code == 404


def test_an_error_of_ours_is_not_shown_to_the_caller(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = retriever_of(folder)

    def broken(requests: object) -> None:
        raise RuntimeError(f"secret path {folder.settings.path}")

    monkeypatch.setattr(retriever, "search_many", broken)
    with TestClient(create_app(retriever), raise_server_exceptions=False) as client:
        answer = client.post("/search", json={"query": QUERY})
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "internal error")


def test_an_answer_that_takes_too_long_is_given_up(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = retriever_of(folder)
    monkeypatch.setattr(retriever, "search_many", lambda requests: time.sleep(0.5))
    with TestClient(create_app(retriever, ServiceSettings(timeout_s=0.05))) as client:
        assert client.post("/search", json={"query": QUERY}).status_code == 504


# --- load, over a real socket ---


@pytest.fixture
def running(folder: Place) -> Iterator[str]:
    uvicorn = pytest.importorskip("uvicorn")
    settings = ServiceSettings(queue_limit=64)
    app = create_app(retriever_of(folder), settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_concurrent_requests_share_passes_of_the_encoder_and_each_gets_its_own_answer(running: str) -> None:
    queries = [f"clean the pump p{number}" for number in range(40)]
    limits = httpx.Limits(max_connections=16)
    with httpx.Client(base_url=running, limits=limits, timeout=20) as client:
        client.post("/search", json={"query": QUERY})

        def ask(query: str) -> list[str]:
            answer = client.post("/search", json={"query": query, "k": 3})
            assert answer.status_code == 200
            return [hit["chunk_id"] for hit in answer.json()["hits"]]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, queries))
        metrics = client.get("/metrics").text
    assert answers == [dense_ranking(OLD, CHUNKS, query)[:3] for query in queries]
    passes = next(line for line in metrics.splitlines() if line.startswith("domain_embed_batch_size_count"))
    assert float(passes.split()[-1]) < len(queries)


HOSTILE: list[tuple[str, bytes]] = [
    ("/search", b'{"query": "' + b"x" * 2_500_000 + b'"}'),
    ("/v1/embeddings", json.dumps({"input": ["x"] * 10_000}).encode()),
    ("/search", b"[" * 50_000),
    ("/search", b'{"query": 7, "k": "many"}'),
    ("/search", b'{"query": "pump", "k": 1000000000}'),
    ("/v1/embeddings", b'{"input": "x", "model": "../../../etc/passwd"}'),
    ("/v1/models/..%2f..%2fsecrets", b"{}"),
    ("/search", b"\xff\xfe\x00"),
]


def test_a_flood_of_hostile_requests_is_refused_while_good_ones_are_answered(running: str) -> None:
    """300 requests from 12 threads, every third of them good; nothing breaks, nothing leaks, nothing piles up."""
    expected = dense_ranking(OLD, CHUNKS, QUERY)[:3]
    good = json.dumps({"query": QUERY, "k": 3}).encode()
    jobs = [("/search", good) if number % 3 == 0 else HOSTILE[number % len(HOSTILE)] for number in range(300)]

    with httpx.Client(base_url=running, limits=httpx.Limits(max_connections=12), timeout=60) as client:

        def send(job: tuple[str, bytes]) -> tuple[bool, int, str]:
            answer = client.post(job[0], content=job[1], headers={"Content-Type": "application/json"})
            return job[1] is good, answer.status_code, answer.text

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(send, jobs))
        metrics = client.get("/metrics").text
        assert client.get("/health").status_code == 200
    for is_good, status, text in answers:
        assert status == 200 if is_good else status in (400, 404, 405, 413, 422)
        if is_good:
            assert [hit["chunk_id"] for hit in json.loads(text)["hits"]] == expected
        else:
            assert len(text) < 2_000 and "passwd" not in text and "Traceback" not in text
    series = [line for line in metrics.splitlines() if line.startswith("domain_embed_requests_total{")]
    assert len(series) < 20


def test_an_existing_openai_client_works_with_another_base_url(running: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{running}/v1", api_key="unused-key")
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one pump"])
    assert np.allclose(answer.data[0].embedding, OLD.encode_queries(["one pump"])[0], atol=1e-6)


def test_readers_of_the_service_notice_nothing_of_a_reindex_and_a_rollback(running: str, folder: Place) -> None:
    expected = {row.spec.model_version: dense_ranking(row, CHUNKS, QUERY)[:5] for row in (OLD, NEW)}
    seen: list[tuple[int, str, list[str]]] = []
    stop = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=running, timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/search", json={"query": QUERY, "k": 5})
                hits = answer.json().get("hits", [])
                (model,) = {hit["model_version"] for hit in hits}
                seen.append((answer.status_code, model, [hit["chunk_id"] for hit in hits]))
                time.sleep(0.01)

    assert httpx.post(f"{running}/search", json={"query": QUERY}, timeout=20).status_code == 200

    def wait_for_answers_of(model: str) -> None:
        """However slow the machine is."""
        deadline = time.monotonic() + 30
        while not (seen and seen[-1][1] == model):
            assert time.monotonic() < deadline, f"{model} never answered; {len(seen)} answers"
            time.sleep(0.01)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for_answers_of("model-old")
    folder.go_live(plan_of(NEW, CHUNKS), CHUNKS, NEW)
    wait_for_answers_of("model-new")
    folder.rollback()
    wait_for_answers_of("model-old")
    stop.set()
    reader.join()
    assert {status for status, _, _ in seen} == {200}
    assert [model for number, (_, model, _) in enumerate(seen) if number == 0 or seen[number - 1][1] != model] == [
        "model-old",
        "model-new",
        "model-old",
    ]
    assert all(chunk_ids == expected[model] for _, model, chunk_ids in seen)
