"""The limit of wrong keys from one address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.users import attempts
from chatsvc.users.attempts import INTERVAL_S, MOST_ADDRESSES, MOST_WRONG, WrongKeys


def test_some_wrong_keys_are_free_and_then_one_at_a_time() -> None:
    wrong = WrongKeys()
    for _ in range(MOST_WRONG):
        assert wrong.wait("a", 100.0) == 0
        wrong.add("a", 100.0)
    assert wrong.wait("a", 100.0) == INTERVAL_S
    assert wrong.wait("b", 100.0) == 0
    assert wrong.wait("a", 100.0 + INTERVAL_S - 0.5) == 1
    assert wrong.wait("a", 100.0 + INTERVAL_S) == 0
    wrong.add("a", 100.0 + INTERVAL_S)
    assert wrong.wait("a", 100.0 + INTERVAL_S) == INTERVAL_S


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=200))
def test_no_more_wrong_keys_pass_than_the_limit_says(
    steps: list[tuple[float, bool]],
) -> None:
    wrong, now = WrongKeys(), 0.0
    passed: list[float] = []
    for pause, patient in steps:
        now += pause
        if patient:  # who waits as long as is asked is let through
            now += wrong.wait("a", now)
            assert wrong.wait("a", now) == 0
        if wrong.wait("a", now) == 0:
            wrong.add("a", now)
            passed.append(now)
    for first, time in enumerate(passed):
        span = passed[first:]
        allowed = [MOST_WRONG + (each - time) / INTERVAL_S for each in span]
        assert all(count <= most + 1e-6 for count, most in enumerate(allowed, start=1))


def test_an_address_is_forgotten_once_nothing_of_it_counts() -> None:
    wrong = WrongKeys()
    for number in range(100):
        wrong.add(f"{number}", 0.0)
    wrong.add("late", INTERVAL_S)
    assert len(wrong) == 1


def test_the_table_is_bounded() -> None:
    wrong = WrongKeys()
    for _ in range(MOST_WRONG):
        wrong.add("first", 0.0)
    for number in range(attempts.MOST_ADDRESSES + 10):
        wrong.add(f"{number}", 0.0)
    assert len(wrong) == MOST_ADDRESSES
    assert wrong.wait("first", 0.0) == 0  # the price of the bound
