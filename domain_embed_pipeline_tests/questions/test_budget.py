from __future__ import annotations

import pytest

from domain_embed_pipeline.errors import BudgetExceededError
from domain_embed_pipeline.questions.budget import Budget


def test_money_that_is_set_aside_cannot_be_set_aside_again() -> None:
    budget = Budget(1.0)
    budget.reserve(0.6)
    with pytest.raises(BudgetExceededError, match=r"\$0\.600000 spent or in flight"):
        budget.reserve(0.6)
    budget.release(0.6)
    budget.reserve(0.6)


def test_a_settled_request_counts_with_what_it_cost() -> None:
    budget = Budget(1.0)
    budget.reserve(0.6)
    budget.settle(0.6, 0.1)
    assert budget.spent_usd == pytest.approx(0.1)
    budget.reserve(0.85)


def test_a_request_of_unknown_fate_counts_in_full() -> None:
    budget = Budget(1.0)
    budget.reserve(0.6)
    budget.settle_unknown(0.6)
    assert (budget.spent_usd, budget.uncertain_usd) == (0.0, 0.6)
    with pytest.raises(BudgetExceededError):
        budget.reserve(0.5)


def test_a_batch_of_an_earlier_run_uses_room_but_is_never_refused() -> None:
    budget = Budget(1.0)
    budget.commit(3.0)
    with pytest.raises(BudgetExceededError):
        budget.reserve(0.01)
