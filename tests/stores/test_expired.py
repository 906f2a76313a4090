"""What is remembered of replies that are no longer kept, against a plain list of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatsvc.stores.expired
from chatsvc.stores.expired import Expired

steps = st.lists(
    st.tuples(st.just("add"), st.integers(0, 5))
    | st.tuples(st.just("forget"), st.integers(0, 40)),
    max_size=60,
)


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chatsvc.stores.expired, "PACK_SIZE", 2)
        patch.setattr(chatsvc.stores.expired, "PACKS_MERGED", 3)
        yield


@given(steps, st.sampled_from([sys.maxsize, 0, 1, 5, 9]))
def test_it_remembers_each_long_enough_and_few_too_long(
    steps: list[tuple[str, int]], most: int
) -> None:
    expired = Expired()
    added: list[tuple[str, int]] = []  # with the time until which it is remembered
    now = 0
    for name, number in steps:
        if name == "add":
            until = max([100, *(until for _, until in added)]) + number
            added.append((f"reply {len(added)}", until))
            expired.add(*added[-1])
        else:
            now += number
            expired.forget(now, most)
            assert len(expired) <= most
    expired.forget(now, most)
    due = [reply for reply, until in added if until > now]
    batch = chatsvc.stores.expired.PACK_SIZE * chatsvc.stores.expired.PACKS_MERGED
    sure = len(added) if len(added) <= most else max(0, most - batch)
    known = [reply for reply, _ in added if reply in expired]
    assert len(known) == len(expired)
    assert known == [reply for reply, _ in added][len(added) - len(known) :]
    assert set(due[max(0, len(due) - sure) :]) <= set(known)
    assert len(known) - len(due) < batch
    assert "another" not in expired


def test_any_text_can_be_asked_for() -> None:
    assert "\ud800" not in Expired()
