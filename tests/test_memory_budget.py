"""The budget of memory: sums of what its sources say, and the limit."""

from __future__ import annotations

import pytest

from chatsvc.memory_budget import Kind, MemoryBudget
from chatsvc.problems import Overloaded


def test_a_budget_is_the_sum_of_its_sources() -> None:
    budget, held = MemoryBudget(100), {"a": 30, "b": 20}
    budget.add_source(Kind.TEXTS, lambda: held["a"])
    budget.add_source(Kind.TEXTS, lambda: held["b"])
    budget.add_source(Kind.PROMPTS, lambda: 40)
    assert (budget.held(Kind.TEXTS), budget.held(Kind.UNSENT), budget.used) == (
        50,
        0,
        90,
    )
    assert (budget.excess(), budget.excess(10), budget.excess(11)) == (0, 0, 1)
    held["a"] = 0
    assert budget.used == 60


def test_no_room_is_a_problem_that_says_when_to_ask_again() -> None:
    budget = MemoryBudget(10)
    budget.add_source(Kind.REQUESTS, lambda: 10)
    budget.check()
    with pytest.raises(Overloaded) as raised:
        budget.check(1)
    assert raised.value.retry_after == 1
    assert "memory" in raised.value.detail


def test_without_a_limit_there_is_always_room() -> None:
    budget = MemoryBudget()
    budget.add_source(Kind.PROMPTS, lambda: 2**60)
    budget.check(2**60)
