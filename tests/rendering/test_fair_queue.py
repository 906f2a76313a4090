"""Clients take turns, whatever they ask for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.fair_queue import FairQueue


def drained(queue: FairQueue[int]) -> list[tuple[str, int]]:
    """Return all items with their clients, in their order."""
    taken = []
    while (next_one := queue.take()) is not None:
        taken.append(next_one)
    return taken


def test_clients_take_turns() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(20):
        queue.put("greedy", number)
    queue.put("modest", 1)
    queue.put("third", 1)
    queue.put("modest", 2)
    order = "".join(client[0] for client, _ in drained(queue))
    assert order == "gmtgm" + "g" * 18
    assert len(queue) == 0


def test_a_client_that_comes_later_is_next_but_one() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(20):
        queue.put("greedy", number)
    queue.take()
    queue.put("modest", 1)
    assert [queue.take(), queue.take()] == [("greedy", 1), ("modest", 1)]


def test_busy_clients_are_passed_over() -> None:
    queue: FairQueue[int] = FairQueue(100)
    queue.put("a", 1)
    queue.put("b", 2)
    assert queue.take(busy={"a"}) == ("b", 2)
    assert queue.take(busy={"a"}) is None
    assert queue.take() == ("a", 1)


def test_the_longest_line_gives_way_when_the_queue_is_full() -> None:
    queue: FairQueue[int] = FairQueue(5)
    assert [queue.put("greedy", number) for number in range(5)] == [None] * 5
    assert queue.put("greedy", 5) == 5
    assert queue.put("modest", 6) == 4
    assert queue.put("modest", 7) == 3
    assert queue.put("modest", 8) == 8  # as long as the other now, and it came last
    assert queue.put("third", 9) == 2
    assert len(queue) == 5


def test_a_full_queue_of_lines_of_one_refuses_the_newest() -> None:
    queue: FairQueue[int] = FairQueue(2)
    queue.put("a", 1)
    queue.put("b", 2)
    assert queue.put("c", 3) == 3


def test_who_leaves_is_gone() -> None:
    queue: FairQueue[int] = FairQueue(5)
    queue.put("a", 1)
    queue.put("a", 2)
    queue.discard("a", 1)
    queue.discard("a", 1)
    queue.discard("b", 1)
    assert drained(queue) == [("a", 2)]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_nothing_is_lost_or_doubled(steps: list[tuple[str, bool]]) -> None:
    queue: FairQueue[int] = FairQueue(7)
    put, out = 0, []
    for client, takes in steps:
        if takes:
            taken = queue.take()
            out += [] if taken is None else [taken[1]]
        else:
            left = queue.put(client, put)
            put += 1
            out += [] if left is None else [left]
        assert len(queue) <= 7
    out += [item for _, item in drained(queue)]
    assert sorted(out) == list(range(put))
