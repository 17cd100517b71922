from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.questions import settings as module
from domain_embed_pipeline.questions.settings import QuestionSettings


def test_the_defaults_are_within_bounds_and_ask_one_question_of_each_style() -> None:
    settings = QuestionSettings()
    assert settings.question_count == 4
    assert settings.max_cost_usd == 5.0


def test_the_plain_prompt_asks_for_three_questions_as_the_tutorial_does() -> None:
    assert QuestionSettings(prompt="plain").question_count == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("questions_per_style", 0),
        ("max_cost_usd", -1.0),
        ("max_concurrency", 0),
        ("batch_max_requests", 100_001),
        ("styles", ()),
        ("styles", ("natural", "natural")),
        ("styles", ("poetic",)),
        ("mode", "later"),
        ("prompt", "fancy"),
        ("model", " "),
        ("example_queries", ("q",) * 9),
        ("example_queries", ("q" * 201,)),
    ],
)
def test_a_value_out_of_bounds_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"out of bounds: .*") as caught:
        QuestionSettings(**{field: value})
    assert field.split("_")[0] in str(caught.value)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        QuestionSettings(max_retries=99, max_concurrency=0)
    assert "max_retries=99" in str(caught.value)
    assert "max_concurrency=0" in str(caught.value)


def test_every_number_has_a_bound() -> None:
    numbers = {field.name for field in fields(QuestionSettings) if str(field.type) in ("int", "float", "float | None")}
    assert numbers == set(module._BOUNDS)
