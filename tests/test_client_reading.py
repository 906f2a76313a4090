"""The reading: pure, so any order of signals can be tried."""

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.client.reading import Backoff, Outcome, Reading, Step
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    EndUnknown,
    Problem,
    Refused,
    TextReceived,
    Wait,
)

AUTO = ("sse", "websocket", "poll")


@given(st.data(), st.text(min_size=1, max_size=40))
def test_any_cuts_and_repeats_give_the_text_exactly_once(
    data: st.DataObject, text: str
) -> None:
    reading = Reading(["sse"], backoff=Backoff(attempts=1000))
    size = len(text)
    got = ""
    for _ in range(data.draw(st.integers(0, 6))):
        step = reading.next()
        assert step is not None and step.after == len(got)
        # At least once: from anywhere at or before what it asked for.
        start = data.draw(st.integers(0, step.after))
        # EventInterpreter need not end where those of another connection did.
        for end in sorted(
            data.draw(st.sets(st.integers(start + 1, size), max_size=5))
            if start < size
            else ()
        ):
            got += reading.take(TextReceived(end, text[start:end]))
            start = end
        reading.take(Broken("cut"))
    step = reading.next()
    assert step is not None
    for end in range(step.after + 1, size + 1):
        got += reading.take(TextReceived(end, text[end - 1 : end]))
    reading.take(Ended("done"))
    assert got == text
    assert reading.next() is None
    assert reading.outcome == Outcome("done")


def test_a_gap_is_never_skipped() -> None:
    reading = Reading(["sse"])
    reading.next()
    assert reading.take(TextReceived(1, "a")) == "a"
    assert reading.take(TextReceived(3, "c")) == ""
    assert reading.take(TextReceived(2, "b")) == ""  # the attempt is over
    step = reading.next()
    assert step is not None and step.after == 1


def test_the_delay_grows_and_has_jitter_and_text_resets_it() -> None:
    reading = Reading(["sse"], backoff=Backoff(1.0, 4.0), chance=lambda: 0.5)
    delays = []
    for _ in range(6):
        step = reading.next()
        assert step is not None
        delays.append(step.delay)
        reading.take(Broken("cut"))
    assert delays == [0.0, 1.5, 3.0, 3.0, 3.0, 3.0]
    reading.next()
    reading.take(TextReceived(1, "a"))
    reading.take(Broken("cut"))
    step = reading.next()
    assert step is not None and step.delay == 0.75
    assert Backoff(1.0).delay(0, 0.0) < Backoff(1.0).delay(0, 0.9) <= 1.0


def test_wait_and_retry_after_are_the_least_delay() -> None:
    reading = Reading(["sse"], chance=lambda: 0.0)
    reading.next()
    reading.take(Wait(7.0))
    reading.take(Broken("cut"))
    step = reading.next()
    assert step is not None and step.delay == 7.0
    reading.take(Refused(Problem(503, "No"), 9.0))
    step = reading.next()
    assert step is not None and step.delay == 9.0
    reading.take(Refused(Problem(503, "No", "come tomorrow"), 86400.0))
    assert reading.outcome == Outcome("failed", "No: come tomorrow")


def test_gives_up_after_so_many_attempts_that_bring_nothing() -> None:
    reading = Reading(["sse"], backoff=Backoff(attempts=3))
    steps = 0
    while reading.next() is not None:
        steps += 1
        reading.take(Broken("cut"))
    assert steps == 3
    assert reading.outcome == Outcome("failed", "gave up after 3 tries: cut")


def test_unreachable_at_first_is_said_at_once_but_later_is_waited_for() -> None:
    gone = Broken("can't reach it", unreachable=True)
    reading = Reading(AUTO)
    reading.next()
    reading.take(gone)
    assert reading.outcome == Outcome("failed", "can't reach it")
    reading = Reading(AUTO)
    reading.next()
    reading.take(Attached("r"))
    reading.take(Broken("cut"))
    for _ in range(5):
        reading.next()
        reading.take(gone)
    assert reading.outcome is None
    assert reading.transport == "sse"  # which is not to blame


def test_auto_leaves_at_once_or_after_two_attempts_in_vain_and_keeps_the_last() -> None:
    reading = Reading(AUTO, backoff=Backoff(attempts=100))
    seen = []
    for broken in [Broken("a proxy buffers", switch=True)] + [Broken("cut")] * 6:
        step = reading.next()
        assert step is not None
        seen.append(step.transport)
        reading.take(broken)
        if len(seen) == 1:
            assert reading.notice == "a proxy buffers: websocket in place of sse"
    assert seen == ["sse", "websocket", "websocket", "poll", "poll", "poll", "poll"]


def test_an_end_that_is_not_known_is_asked_for_by_a_poll() -> None:
    reading = Reading(["text"])
    reading.next()
    reading.take(Attached("r"))
    assert reading.take(TextReceived(2, "ab")) == "ab"
    reading.take(EndUnknown())
    step = reading.next()
    assert step == Step("poll", "r", 2, step.delay if step else 0.0)
    assert reading.take(TextReceived(3, "c")) == "c"
    reading.take(Ended("stopped", Problem(0, "stopped")))
    assert reading.outcome == Outcome("stopped", "stopped")


def test_another_reply_than_the_one_read_is_a_failure() -> None:
    reading = Reading(["sse"])
    reading.next()
    reading.take(Attached("r"))
    reading.take(Attached("s"))
    assert reading.take(TextReceived(1, "a")) == ""
    assert reading.outcome is not None and reading.outcome.state == "failed"
