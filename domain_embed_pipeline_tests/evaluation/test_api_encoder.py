from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from domain_embed_pipeline.encoding.vector_cache import CachedEncoder, VectorCache
from domain_embed_pipeline.errors import EvaluationError
from domain_embed_pipeline.evaluation.api_encoder import ApiEncoder, ApiSettings
from domain_embed_pipeline_tests.fake_embeddings_server import EmbeddingsServer


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    running = EmbeddingsServer()
    yield running
    running.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client() as opened:
        yield opened


def test_vectors_come_in_the_order_of_the_texts_and_have_unit_length(
    server: EmbeddingsServer, client: httpx.Client
) -> None:
    encoder = ApiEncoder(ApiSettings(server.url, "emb-3", batch_size=2), client, api_key="key-1")
    vectors = encoder.encode_queries(["a", "bbb", "cc"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert (vectors[:, 0] / vectors[:, 1]) == pytest.approx([1, 3, 2])
    assert [request["path"] for request in server.requests] == ["/v1/embeddings"] * 3
    assert [len(request["input"]) for request in server.requests] == [1, 2, 1]
    assert set(server.keys) == {"Bearer key-1"}
    assert encoder.spec.dimension == 3


def test_tokens_and_dollars_are_what_the_endpoint_counted(server: EmbeddingsServer, client: httpx.Client) -> None:
    encoder = ApiEncoder(ApiSettings(server.url, "emb-3", dimensions=4, dollars_per_million_tokens=20.0), client)
    encoder.encode_passages(["one two three", "four five"])
    assert encoder.tokens == 5
    assert encoder.dollars == pytest.approx(5 * 20 / 1e6)


def test_a_named_dimension_is_asked_for_and_costs_no_call_to_learn(
    server: EmbeddingsServer, client: httpx.Client
) -> None:
    encoder = ApiEncoder(ApiSettings(server.url, "emb-3", dimensions=4), client)
    assert server.requests == []
    assert encoder.encode_queries(["a"]).shape == (1, 4)
    assert server.requests[0]["dimensions"] == 4


def test_behind_the_vector_cache_no_text_is_paid_for_twice(
    server: EmbeddingsServer, client: httpx.Client, tmp_path: Path
) -> None:
    paid = ApiEncoder(ApiSettings(server.url, "emb-3", dimensions=4), client)
    for _ in range(2):
        cached = CachedEncoder(paid.spec, load=lambda: paid, cache=VectorCache(tmp_path, paid.spec))
        first = cached.encode_passages(["one", "two"])
    assert len(server.requests) == 1
    assert first.shape == (2, 4)


def test_a_rate_limit_is_waited_for_as_long_as_the_endpoint_says(
    server: EmbeddingsServer, client: httpx.Client
) -> None:
    slept: list[float] = []
    encoder = ApiEncoder(ApiSettings(server.url, "emb-3", dimensions=4), client, sleep=slept.append)
    server.faults = [(429, {"retry-after": "7"}, b"slow down"), (503, {}, b"")]
    assert encoder.encode_queries(["a"]).shape == (1, 4)
    assert slept == [7.0, 2.0]


def test_attempts_are_finite_and_the_last_problem_is_named(server: EmbeddingsServer, client: httpx.Client) -> None:
    slept: list[float] = []
    encoder = ApiEncoder(ApiSettings(server.url, "emb-3", dimensions=4, attempts=3), client, sleep=slept.append)
    server.faults = [(500, {}, b"broken")] * 3
    with pytest.raises(EvaluationError, match="kept failing, 3 times: HTTP 500: broken"):
        encoder.encode_queries(["a"])
    assert len(slept) == 2


def test_a_wrong_key_is_not_tried_again(server: EmbeddingsServer, client: httpx.Client) -> None:
    server.faults = [(401, {}, b"bad key")]
    with pytest.raises(EvaluationError, match="HTTP 401: bad key"):
        ApiEncoder(ApiSettings(server.url, "emb-3"), client, sleep=lambda seconds: pytest.fail("slept"))


@pytest.mark.parametrize(
    "reply",
    [
        b"<html>",
        b"{}",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [0.0, 0.0]}]}',
        b'{"data": [{"index": 1, "embedding": [1.0, 0.0]}]}',
        b'{"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 0.0]}]}',
    ],
)
def test_an_answer_without_the_right_vectors_is_refused(
    server: EmbeddingsServer, client: httpx.Client, reply: bytes
) -> None:
    server.faults = [(200, {}, reply)]
    with pytest.raises(EvaluationError, match="'emb-3'"):
        ApiEncoder(ApiSettings(server.url, "emb-3"), client)


def test_a_server_that_is_not_there_is_an_error_that_names_it() -> None:
    settings = ApiSettings("http://127.0.0.1:9", "emb-3", attempts=2)
    with httpx.Client() as client, pytest.raises(EvaluationError, match=r"127\.0\.0\.1:9.*ConnectError"):
        ApiEncoder(settings, client, sleep=lambda seconds: None)


def test_another_url_model_or_dimension_is_another_fingerprint(client: httpx.Client) -> None:
    fingerprints = {
        ApiEncoder(ApiSettings(url, model, dimensions=dimension), client).spec.fingerprint
        for url, model, dimension in [("u", "m", 4), ("v", "m", 4), ("u", "n", 4), ("u", "m", 8)]
    }
    assert len(fingerprints) == 4
