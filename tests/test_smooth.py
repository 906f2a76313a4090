"""The pace with a lag: a bursting model's text comes evenly, and never long after it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.log import Log

LAG = 500_000  # microseconds

bursts = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(1, 300)), min_size=1, max_size=12
)


@given(bursts, st.integers(1, 300_000), st.lists(st.integers(0, 24_000_000)))
def test_text_is_out_in_order_not_before_it_came_and_not_past_the_lag(
    bursts: list[tuple[int, int]], pace: int, looks: list[int]
) -> None:
    log = Log("r", pace=pace, lag=LAG)
    now = seen = 0
    arrived: list[tuple[int, int]] = []
    for gap, count in bursts:
        for look in sorted(look for look in looks if now <= look < now + gap):
            out = log.released(look)
            assert seen <= out <= log.position
            seen = out
        now += gap
        # What came `LAG` ago or longer is out, however much came since.
        due = max((end for at, end in arrived if at + LAG <= now), default=0)
        assert log.released(now) >= due
        seen = max(seen, log.released(now))
        log.append("a" * count, now)
        assert log.released(now) >= seen  # new text takes nothing back
        arrived.append((now, log.position))
    for at, end in arrived:
        assert log.released(max(at + LAG, now)) >= end
    assert log.released(now + LAG) == log.position


@given(st.integers(1, 50), st.integers(1, 10_000))
def test_a_burst_that_fits_comes_at_the_pace(count: int, pace: int) -> None:
    log = Log("r", pace=pace, lag=LAG)
    log.append("a" * count, 1_000)
    for turn in range(count):
        assert log.released(1_000 + turn * pace) == turn + 1
        assert log.released(1_000 + turn * pace + pace - 1) == turn + 1


@given(st.integers(600, 3_000))
def test_a_burst_that_does_not_fit_is_spread_evenly_over_the_lag(count: int) -> None:
    log = Log("r", pace=100_000, lag=LAG)
    log.append("a" * count, 0)
    outs = [log.released(LAG * tenth // 10) for tenth in range(11)]
    steps = [b - a for a, b in itertools.pairwise(outs)]
    assert outs[-1] == count
    # The step is in whole microseconds, so a little may be out before its time.
    assert max(steps) <= 1.05 * count / 10 + 2


@given(bursts)
def test_without_a_pace_text_is_out_as_it_comes(bursts: list[tuple[int, int]]) -> None:
    log = Log("r", pace=0, lag=LAG)
    now = 0
    for gap, count in bursts:
        now += gap
        log.append("a" * count, now)
        assert log.released(now) == log.position
