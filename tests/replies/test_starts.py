"""How many replies an account has begun within a minute: never more than its limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.replies import starts as module
from chatsvc.replies.starts import SLOT_S, Starts


class Clock:
    """A clock of the test's own (seconds)."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_next_start_is_possible_when_the_answer_said_so() -> None:
    clock = Clock()
    starts = Starts(clock)
    for _ in range(3):
        assert starts.wait_s("a", 3) == 0
        starts.add("a")
    wait = starts.wait_s("a", 3)
    assert 60 <= wait <= 60 + SLOT_S
    assert starts.wait_s("b", 3) == 0
    assert starts.wait_s("a", 0) == 0  # no limit
    clock.now += wait - 1.01
    assert starts.wait_s("a", 3) > 0
    clock.now += 1.01
    assert starts.wait_s("a", 3) == 0


def test_what_is_taken_back_counts_no_more() -> None:
    starts = Starts(Clock())
    slot = starts.add("a")
    assert starts.wait_s("a", 1) > 0
    starts.take_back("a", slot)
    starts.take_back("a", slot)
    starts.take_back("nobody", slot)
    assert starts.wait_s("a", 1) == 0
    starts.add("a")
    assert starts.wait_s("a", 1) > 0


def test_an_idle_account_is_forgotten() -> None:
    clock = Clock()
    starts = Starts(clock)
    for number in range(1000):
        starts.add(f"address:{number}")
    assert len(starts) == 1000
    clock.now += 60 + SLOT_S
    starts.add("another")
    assert len(starts) == 1


def test_a_crowd_of_addresses_takes_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 100)
    starts = Starts(Clock())
    for number in range(1000):
        starts.add(f"address:{number}")
        starts.add("steady")
    assert len(starts) <= 100
    assert starts.wait_s("steady", 1000) > 0


@given(
    st.lists(
        st.tuples(
            st.floats(0, 30), st.sampled_from("ab"), st.booleans(), st.booleans()
        ),
        max_size=60,
    ),
    st.integers(1, 6),
)
def test_within_any_minute_there_are_at_most_as_many(
    steps: list[tuple[float, str, bool, bool]], most: int
) -> None:
    clock = Clock()
    starts = Starts(clock)
    begun: dict[str, list[float]] = {"a": [], "b": []}
    for pause, account, again, fails in steps:
        clock.now += 0 if again else pause
        now, mine = clock.now, begun[account]
        wait = starts.wait_s(account, most)
        if wait:
            # It is refused for a reason, and not for longer than is promised.
            assert sum(at > now - 60 - SLOT_S for at in mine) >= most
            assert wait <= 60 + SLOT_S
            continue
        slot = starts.add(account)
        if fails:
            starts.take_back(account, slot)
        else:
            mine.append(now)
        assert sum(at > now - 60 for at in mine) <= most
