from __future__ import annotations

import pytest

from domain_embed_pipeline.errors import ConfigurationError
from domain_embed_pipeline.questions.pricing import cost_bound_usd, cost_usd, known_models, profile_of
from domain_embed_pipeline.questions.prompt import max_tokens_of, prefix_of
from domain_embed_pipeline.questions.records import Usage
from domain_embed_pipeline.questions.settings import QuestionSettings

HAIKU_5 = profile_of(QuestionSettings(model="claude-haiku-5-5"))
HAIKU_4 = profile_of(QuestionSettings(model="claude-haiku-4-5"))


def test_a_million_tokens_cost_what_the_table_says() -> None:
    assert cost_usd(Usage(input_tokens=1_000_000), HAIKU_5) == pytest.approx(0.10)
    assert cost_usd(Usage(output_tokens=1_000_000), HAIKU_5) == pytest.approx(0.50)
    assert cost_usd(Usage(input_tokens=1_000_000), HAIKU_4) == pytest.approx(1.00)
    assert cost_usd(Usage(output_tokens=1_000_000), HAIKU_4) == pytest.approx(5.00)


def test_cache_writes_cost_more_and_reads_a_tenth() -> None:
    assert cost_usd(Usage(cache_write_5m_tokens=1_000_000), HAIKU_5) == pytest.approx(0.125)
    assert cost_usd(Usage(cache_write_1h_tokens=1_000_000), HAIKU_5) == pytest.approx(0.20)
    assert cost_usd(Usage(cache_read_tokens=1_000_000), HAIKU_5) == pytest.approx(0.01)


def test_a_batch_halves_everything() -> None:
    direct = Usage(1000, 200, 300, 400, 500)
    batch = Usage(1000, 200, 300, 400, 500, service_tier="batch")
    assert cost_usd(batch, HAIKU_5) == pytest.approx(cost_usd(direct, HAIKU_5) / 2)


def test_thinking_tokens_are_part_of_the_output_and_not_billed_twice() -> None:
    assert cost_usd(Usage(output_tokens=10, thinking_tokens=9), HAIKU_5) == cost_usd(Usage(output_tokens=10), HAIKU_5)


def test_a_dated_snapshot_has_the_price_of_its_model() -> None:
    assert profile_of(QuestionSettings(model="claude-haiku-4-5-20251001")).input_usd_per_mtok == 1.0


def test_a_longer_name_is_not_taken_for_a_known_model() -> None:
    with pytest.raises(ConfigurationError, match="claude-haiku-4-5-mini"):
        profile_of(QuestionSettings(model="claude-haiku-4-5-mini"))


def test_an_unknown_model_needs_both_prices() -> None:
    with pytest.raises(ConfigurationError, match="input_usd_per_mtok and output_usd_per_mtok"):
        profile_of(QuestionSettings(model="qwen3", input_usd_per_mtok=0.0))
    profile = profile_of(QuestionSettings(model="qwen3", input_usd_per_mtok=0.0, output_usd_per_mtok=0.0))
    assert cost_usd(Usage(1000, 1000), profile) == 0.0


def test_given_prices_go_before_the_table() -> None:
    profile = profile_of(QuestionSettings(input_usd_per_mtok=7.0))
    assert (profile.input_usd_per_mtok, profile.output_usd_per_mtok) == (7.0, 0.5)


def test_only_the_newer_model_has_thinking_to_switch_off() -> None:
    assert [(row.model, row.thinking_off, row.effort) for row in known_models()] == [
        ("claude-haiku-5-5", True, "low"),
        ("claude-haiku-4-5", False, None),
    ]


def test_the_bound_of_a_request_is_above_its_cost_even_if_every_byte_of_the_chunk_is_a_token() -> None:
    bound = cost_bound_usd(3000, 1000, max_tokens=440, profile=HAIKU_5, batch=False)
    worst = Usage(input_tokens=1000, output_tokens=440, cache_write_1h_tokens=1200)
    assert cost_usd(worst, HAIKU_5) <= bound < 3 * cost_usd(worst, HAIKU_5)


def test_a_thousand_accepted_pairs_cost_at_most_five_cents_batched_on_the_default_model() -> None:
    """Chunks of 250 tokens, no cache hit at all, and 70 % of the questions accepted."""
    settings = QuestionSettings()
    # The chunk's 250 tokens are those of the older tokenizer; the newer one makes 30 % more of the same text.
    input_tokens = round(len(prefix_of(settings)) / HAIKU_5.chars_per_token + 250 * 1.3 + 40)
    output_tokens = round((34 * 4 + 12) * 1.3)
    assert output_tokens < max_tokens_of(settings)
    one_chunk = cost_usd(Usage(input_tokens, output_tokens, service_tier="batch"), HAIKU_5)
    accepted = 4 * 0.7
    assert 1000 * one_chunk / accepted <= 0.05
