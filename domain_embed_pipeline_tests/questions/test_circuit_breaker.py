from __future__ import annotations

import pytest

from domain_embed_pipeline.errors import CircuitOpenError
from domain_embed_pipeline.questions.circuit_breaker import CircuitBreaker


def test_failures_in_a_row_open_the_circuit_and_name_the_last_cause() -> None:
    breaker = CircuitBreaker(3)
    for _ in range(2):
        breaker.failed("500")
    breaker.check()
    breaker.failed("529 overloaded")
    with pytest.raises(CircuitOpenError, match="3 attempts in a row failed, the last one with: 529 overloaded"):
        breaker.check()


def test_an_answer_in_between_closes_it_again() -> None:
    breaker = CircuitBreaker(3)
    for _ in range(10):
        breaker.failed("500")
        breaker.failed("500")
        breaker.answered()
    breaker.check()


def test_paid_answers_without_a_usable_question_open_it_too() -> None:
    breaker = CircuitBreaker(3)
    for _ in range(3):
        breaker.answered()
        breaker.judged(usable=False, cause="invalid: no JSON")
    with pytest.raises(CircuitOpenError, match="3 paid answers in a row held no usable question"):
        breaker.check()
