"""The log's schedule and end, against the invariants of `chatsvc.log`. Time is given, in microseconds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatsvc.segment
from chatsvc.log import MERGE_BATCH, Log
from chatsvc.model import End
from chatsvc.segment import MERGED_LENGTH, Segment
from chatsvc.stores.sizes import log_bytes

DONE = End("done", "stop")
STOPPED = End("stopped", "stopped")

CHARACTERS = ["a", " ", "\n", "好", "👨‍👩‍👧", "🇩🇪", "e\u0301", "👍🏽"]

texts = st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=8).map("".join)
waits = st.integers(0, 3_000_000)
appends = st.lists(st.tuples(waits, texts), min_size=1, max_size=8)
paces = st.integers(0, 200_000)
lags = st.none() | st.integers(0, 1_000_000)


class Run:
    """A log that was filled, with what arrived when and when each character was due then."""

    def __init__(
        self, appends: list[tuple[int, str]], pace: int, lag: int | None, start: int = 7
    ) -> None:
        self.log = Log("r" * 22, pace=pace, lag=lag)
        self.text = ""
        self.arrivals: list[tuple[int, int]] = []  # (position, arrived at)
        self.due: list[tuple[int, int]] = []  # (position, out at), as first scheduled
        self.now = start
        for wait, text in appends:
            self.now += wait
            before = len(self.text)
            self.log.append(text, self.now)
            self.text += text
            self.arrivals.append((len(self.text), self.now))
            # Where the piece joined a segment, only the last characters of that are new. Without a
            # pace it is released already, and they with it.
            segment = self.log.segments[-1]
            for i in range(segment.index(before - segment.start), segment.count):
                out = max(segment.first + i * segment.step, 0 if pace else self.now)
                self.due.append((segment.start + segment.offset(i + 1), out))


@given(appends, paces, lags)
def test_what_has_arrived_is_there_in_order(
    appends: list[tuple[int, str]], pace: int, lag: int | None
) -> None:
    run = Run(appends, pace, lag)
    log = run.log
    assert log.position == len(run.text)
    assert log.size == len(run.text.encode())
    assert log.text(0) == run.text
    assert "".join(s.text for s in log.segments) == run.text
    for position in range(len(run.text)):
        segment = log.find(position)
        assert segment is not None
        assert segment.text[position - segment.start] == run.text[position]
        assert log.text(position) == run.text[position:]
        assert log.text(3, position) == run.text[3:position]
    assert log.find(len(run.text)) is None
    assert log.find(len(run.text) + 5) is None


@given(appends, paces, lags)
def test_characters_come_out_in_order_after_they_arrive_and_evenly_paced(
    appends: list[tuple[int, str]], pace: int, lag: int | None
) -> None:
    run = Run(appends, pace, lag)
    times = dict(run.due)
    for (_, one), (_, other) in pairwise(run.due):
        assert one <= other
    for (begin, _), (end, arrived) in zip(
        [(0, 0), *run.arrivals], run.arrivals, strict=False
    ):
        own = [out for position, out in run.due if begin < position <= end]
        assert own[0] >= arrived
        gaps = {b - a for a, b in pairwise(own)}
        assert len(gaps) <= 1
        assert all(gap <= pace for gap in gaps)
        if lag is None:
            assert not gaps or gaps == {pace}
        if begin and begin in times and lag is None and pace:
            assert own[0] - times[begin] >= pace


@given(appends, paces, st.integers(0, 1_000_000))
def test_release_is_never_more_than_the_lag_behind_arrival(
    appends: list[tuple[int, str]], pace: int, lag: int
) -> None:
    run = Run(appends, pace, lag)
    for position, arrived in run.arrivals:
        assert run.log.released(arrived + lag) >= position
    assert run.log.due() <= run.now + lag


@given(appends, paces, lags, st.lists(waits, max_size=10))
def test_out_only_grows_and_stands_between_characters(
    appends: list[tuple[int, str]], pace: int, lag: int | None, later: list[int]
) -> None:
    log = Log("r" * 22, pace=pace, lag=lag)
    now = out = 0
    edges, text = {0}, ""
    for wait, piece in appends:
        for step in (wait // 2, wait - wait // 2):
            now += step
            assert log.released(now) >= out
            out = log.released(now)
            assert out in edges
        log.append(piece, now)
        assert log.released(now) >= out
        segment = Segment(len(text), piece)
        edges |= {len(text) + segment.offset(i + 1) for i in range(segment.count)}
        text += piece
    for wait in sorted(later):
        assert out <= log.released(now + wait)
        out = log.released(now + wait)
    assert log.released(max(now, log.due())) == len(text)


@given(appends, paces, lags, waits)
def test_a_stop_keeps_what_is_out_and_nothing_else(
    appends: list[tuple[int, str]], pace: int, lag: int | None, wait: int
) -> None:
    run = Run(appends, pace, lag)
    log, now = run.log, run.now + wait
    out = log.released(now)
    log.finish(STOPPED, now)
    assert log.text(0) == run.text[:out]
    assert (log.position, log.size) == (out, len(run.text[:out].encode()))
    assert log.released(now) == out
    assert log.end is STOPPED
    assert len(log.segments) <= 1
    log.finish(DONE, now + 1)
    assert log.end is STOPPED


@given(appends, paces, lags, st.sampled_from([DONE, End("failed", "error")]))
def test_any_other_end_keeps_all_that_has_arrived(
    appends: list[tuple[int, str]], pace: int, lag: int | None, end: End
) -> None:
    run = Run(appends, pace, lag)
    run.log.seal(end)
    run.log.finish(end, run.now)
    assert run.log.text(0) == run.text
    assert run.log.released(run.now) == len(run.text)
    run.log.finish(STOPPED, run.now)
    assert run.log.end is end
    assert run.log.text(0) == run.text


@given(appends, paces, lags, st.integers(1, 12))
def test_merging_changes_nothing(
    appends: list[tuple[int, str]], pace: int, lag: int | None, times: int
) -> None:
    """Each character that is not out keeps its time, and each one that is stays out and whole."""
    run = Run(appends * times, pace, lag)
    for position, out in run.due:
        assert run.log.released(max(out, run.now)) >= position
    for (position, out), (_, following) in pairwise(run.due):
        if run.now <= out < following:
            assert run.log.released(out) == position
    cut = [c for s in run.log.segments for c in s.characters(0, s.count)]
    assert cut == [c for _, text in appends for c in _characters(text)] * times


def _characters(text: str) -> list[str]:
    segment = Segment(0, text)
    return list(segment.characters(0, segment.count))


@pytest.mark.parametrize(
    ("pace", "lag"), [(0, None), (30_000, 500_000), (1_000, None), (50_000, 0)]
)
def test_a_log_stays_short_however_small_its_pieces(pace: int, lag: int | None) -> None:
    log = Log("r" * 22, pace=pace, lag=lag)
    for now in range(0, 6_000 * 1_500, 1_500):
        log.append("好", now)
    out = [segment for segment in log.segments if segment.last <= now]
    assert len(out) <= 2 * (6_000 // MERGED_LENGTH + 1) + MERGE_BATCH + 1


def test_what_is_partly_out_keeps_its_times_when_others_are_merged() -> None:
    log = Log("r" * 22, pace=1_000)
    for i in range(MERGE_BATCH):  # each is out before the next one arrives
        log.append("abcdefghij", 20_000 * i)
    begin, long = 20_000 * MERGE_BATCH, "k" * MERGED_LENGTH
    log.append(long, begin)
    log.append(long, begin)
    now = begin + 1_000 * MERGED_LENGTH + 500
    log.append("l", now)
    assert [len(s.text) for s in log.segments] == [160, len(long), len(long), 1]
    for i in range(MERGED_LENGTH + 1):
        assert log.released(now + 1_000 * i) == 160 + len(long) + 1 + i


@pytest.mark.parametrize("lag", [None, 500_000])
@pytest.mark.parametrize("wait", [0, 3, 1_000])
def test_a_backlog_of_small_pieces_is_few_segments(lag: int | None, wait: int) -> None:
    log = Log("r" * 22, pace=30_000, lag=lag)
    for i in range(20_000):
        log.append("🇩🇪", wait * i)
    # With a lag, as many as its milliseconds and those of the pieces; else as long as may be.
    assert len(log.segments) <= 1_100


def test_a_text_is_cut_only_when_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log("r" * 22, pace=1_000, lag=5_000)
    for i in range(1_000):
        log.append(CHARACTERS[i % len(CHARACTERS)], 700 * i)
    monkeypatch.setattr(chatsvc.segment, "boundaries", None)
    log.finish(STOPPED, 690_000)
    text = log.text(0)
    assert text == "".join(CHARACTERS * 125)[: len(text)]
    characters = [c for s in log.segments for c in s.characters(0, s.count)]
    assert characters == (CHARACTERS * 125)[: len(characters)]
    assert 900 < len(characters) < 1_000
    assert log.size == len(text.encode())


def test_a_backlog_is_merged_once_it_is_out() -> None:
    log = Log("r" * 22, pace=1_000)
    for _ in range(2_000):
        log.append("a", 0)
    for i in range(2_000):
        log.append("b", 10_000_000 + 2_000 * i)
    assert len(log.segments) < 40
    assert log.text(0) == "a" * 2_000 + "b" * 2_000


@given(texts, st.integers(0, 1000), st.integers(0, 100), st.integers(0, 5000))
def test_a_segment_gives_any_run_of_its_characters(
    text: str, first: int, step: int, now: int
) -> None:
    segment = Segment(5, text, first, step)
    characters = _characters(text)
    assert "".join(characters) == text
    for begin in range(segment.count + 1):
        for end in range(begin, segment.count + 1):
            assert list(segment.characters(begin, end)) == characters[begin:end]
    for offset in range(len(text)):
        index = segment.index(offset)
        assert segment.offset(index) <= offset < segment.offset(index + 1)
    assert segment.released(now) == sum(
        first + i * step <= now for i in range(segment.count)
    )


def test_an_empty_append_and_an_empty_log() -> None:
    log = Log("r" * 22, pace=10)
    log.append("", 5)
    assert (log.segments, log.due(), log.released(10**12), log.text(0)) == (
        [],
        0,
        0,
        "",
    )
    assert log.text(0, 5) == ""
    log.finish(DONE, 5)
    assert (log.end, log.text(0), log.position) == (DONE, "", 0)


@given(appends)
def test_a_log_holds_at_least_its_text_and_less_once_it_is_cut(
    pieces: list[tuple[int, str]],
) -> None:
    log, at = Log("r", pace=100_000), 0
    for wait, text in pieces:
        at += wait
        log.append(text, at)
    held = log_bytes(log)
    assert log.size <= held <= 2 * log.size
    assert held == log.size or not "".join(text for _, text in pieces).isascii()
    log.finish(STOPPED, -1)
    assert log_bytes(log) == 0
