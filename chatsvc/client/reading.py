"""One reply as its reader sees it: what it has, and what to ask for next. Pure.

What always holds:

- `position` is the number of code points that `take` has given out. It only grows, and
  no code point is given twice or left out (PROTOCOL.md section 1, "Promise").
- `next` gives Steps until `outcome` is set. The delay of a Step grows with every attempt
  in a row that brought no new text, and so many of these end the reading.
- With several transports, one is left for the next when it can't work here, or when two
  attempts in a row on it brought nothing. The last is kept.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    EndUnknown,
    Problem,
    Refused,
    Signal,
    TextReceived,
    Wait,
)

LONGEST_WAIT = 120.0
"""Seconds; told to come back later than that, the reader gives up."""

_FRUITLESS_BEFORE_LEAVING = 2


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts, and how many in a row may bring nothing."""

    first: float = 0.2
    most: float = 5.0
    attempts: int = 10

    def delay(self, fruitless: int, chance: float) -> float:
        """Give the seconds before the next attempt; `chance` in [0, 1) is the jitter."""
        longest = min(self.most, self.first * 2.0 ** min(fruitless, 30))
        return longest * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Step:
    """The next request: by `transport`, `delay` seconds from now.

    Without a `reply` it is the question, which the idempotency key makes safe to repeat;
    with one, the rest of the reply after `after` code points.
    """

    transport: str
    reply: str | None
    after: int
    delay: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `done`, `stopped` or `failed`, and why, in one line."""

    state: str
    why: str = ""


class Reading:
    """Takes signals, gives text and Steps. `transports` are tried in their order."""

    def __init__(
        self,
        transports: Sequence[str],
        *,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not transports:
            raise ValueError("no transport to read by")
        self.reply: str | None = None
        self.position = 0
        self.outcome: Outcome | None = None
        self.notice = ""
        """Why the transport was changed, said once for each change."""
        self._transports = list(transports)
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._fruitless = 0
        self._fruitless_here = 0
        self._advanced = False
        self._closed = True  # no attempt is under way
        self._wait = 0.0
        self._ask_for_end = False
        self._met = False  # something of this server has been received
        self._again = False  # an attempt was made before

    @property
    def transport(self) -> str:
        """The one in use."""
        return self._transports[0]

    def next(self) -> Step | None:
        """Give what to do next; None once there is an outcome."""
        if not self._closed:  # the transport went without a word
            self.take(Broken("the connection ended too early"))
        if self.outcome is not None:
            return None
        delay = 0.0
        if self._again:
            delay = self._backoff.delay(self._fruitless, self._chance())
        delay = max(delay, self._wait)
        transport = "poll" if self._ask_for_end else self.transport
        self._again = True
        self._advanced = self._closed = False
        self._wait = 0.0
        return Step(transport, self.reply, self.position, delay)

    def take(self, signal: Signal) -> str:
        """Take one signal; give the text in it that is new."""
        match signal:
            case Attached(reply):
                self._met = True
                if self.reply is not None and reply != self.reply:
                    self._end("failed", "the server answered with another reply")
                self.reply = reply
            case TextReceived(position, text):
                return self._characters(position, text)
            case Wait(seconds):
                self._wait = max(self._wait, seconds)
                if seconds > LONGEST_WAIT:
                    self._wait = LONGEST_WAIT
            case Ended(state, problem):
                self._end(state, "" if problem is None else str(problem))
            case EndUnknown():
                self._closed = self._ask_for_end = True
                if self.reply is None:
                    self._end("failed", "the server did not say which reply it is")
            case Broken():
                self._broke(signal)
            case Refused(problem, retry_after):
                self._refused(problem, retry_after)
        return ""

    def _characters(self, position: int, text: str) -> str:
        if self.outcome is not None or self._closed:
            return ""
        new = position - self.position
        if new > len(text):
            # What lies between must not be skipped: the same place is asked for again.
            self.take(Broken("characters were missing"))
            return ""
        if new <= 0:
            return ""
        self.position = position
        self._advanced = True
        self._fruitless = self._fruitless_here = 0
        return text[-new:]

    def _broke(self, broken: Broken) -> None:
        if self._closed:
            return
        self._closed = True
        if broken.unreachable and not self._met:
            self._end("failed", broken.why)
            return
        if not self._advanced:
            self._fruitless += 1
            self._fruitless_here += not broken.unreachable
        if self._fruitless >= self._backoff.attempts:
            self._end("failed", f"gave up after {self._fruitless} tries: {broken.why}")
        elif len(self._transports) > 1 and (
            broken.leave or self._fruitless_here >= _FRUITLESS_BEFORE_LEAVING
        ):
            left = self._transports.pop(0)
            self._fruitless_here = 0
            self.notice = f"{broken.why}: {self.transport} in place of {left}"

    def _refused(self, problem: Problem, retry_after: float | None) -> None:
        self._met = True
        if retry_after is None or retry_after > LONGEST_WAIT:
            self._end("failed", str(problem))
            return
        self._wait = max(self._wait, retry_after)
        # Its own word, so no transport is left for it.
        self._broke(Broken(str(problem), unreachable=True))

    def _end(self, state: str, why: str) -> None:
        self._closed = True
        if self.outcome is None:
            self.outcome = Outcome(state, why)
