"""Reasons for which servers say that an answer has finished."""

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.finish_reasons import (
    ALIASES,
    FAILURES,
    LONGEST_REASON,
    read_reason,
)
from chatsvc.problems import FAILURE_REASONS


def test_no_name_has_two_meanings() -> None:
    names = [alias for aliases in ALIASES.values() for alias in aliases]
    assert len({*names, *FAILURES}) == len(names) + len(FAILURES)
    assert set(FAILURES.values()) <= set(FAILURE_REASONS)
    assert all(reason in aliases for reason, aliases in ALIASES.items())


def test_case_and_punctuation_do_not_matter() -> None:
    for reason, aliases in ALIASES.items():
        for alias in aliases:
            assert read_reason(alias.upper().replace("_", "-")) == reason
            assert read_reason(f" {alias.replace('_', ' ')} ") == reason


@given(st.text(min_size=1))
def test_what_nobody_knows_is_passed_on_as_it_is(text: str) -> None:
    reason = read_reason(text)
    assert reason is None or reason in {*ALIASES, *FAILURES} or text.startswith(reason)
    assert reason is None or len(reason) <= LONGEST_REASON
