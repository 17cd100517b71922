from __future__ import annotations

import pytest
from httpx import ConnectError, Headers
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from domain_embed_pipeline.errors import StoreUnavailableError
from domain_embed_pipeline.serving.retries import RetryPolicy, is_passing


def http_error(status: int) -> UnexpectedResponse:
    return UnexpectedResponse(status, "because", b"details", Headers())


class GrpcError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name

    def code(self) -> GrpcError:
        return self


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ResourceExhaustedResponse("slow down", "2"), True),
        (http_error(429), True),
        (http_error(500), True),
        (http_error(503), True),
        (http_error(400), False),
        (http_error(401), False),
        (http_error(404), False),
        (ResponseHandlingException(ConnectError("refused")), True),
        (ResponseHandlingException(ValueError("answer of another shape")), False),
        (GrpcError("UNAVAILABLE"), True),
        (GrpcError("INVALID_ARGUMENT"), False),
        (ValueError("Collection live not found"), False),
        (KeyError("ours"), False),
    ],
    ids=repr,
)
def test_only_failures_that_pass_by_themselves_are_repeated(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes


def test_pauses_double_up_to_a_cap() -> None:
    pauses: list[float] = []
    policy = RetryPolicy(attempts=6, base_s=1.0, cap_s=5.0, sleep=pauses.append, jitter=lambda: 0.5)

    def always_down() -> None:
        raise http_error(503)

    with pytest.raises(StoreUnavailableError, match="6 times in a row at: counting"):
        policy.run("counting", always_down)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_server_cannot_ask_for_an_endless_pause() -> None:
    pauses: list[float] = []
    policy = RetryPolicy(attempts=2, cap_s=5.0, sleep=pauses.append)

    def exhausted() -> None:
        raise ResourceExhaustedResponse("later", "86400")

    with pytest.raises(StoreUnavailableError):
        policy.run("upload", exhausted)
    assert pauses == [5.0]


def test_a_call_that_recovers_gives_its_result() -> None:
    outcomes: list[object] = [http_error(500), http_error(502), 7]

    def scripted() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return int(str(outcome))

    assert RetryPolicy(sleep=lambda _: None).run("count", scripted) == 7
