"""The state of reading one reply: what has been read, and what to request next. Pure.

Invariants:

- `position` is the number of code points of the answer's text that `take` has returned. It only
  grows, and no code point is returned twice or left out (PROTOCOL.md section 1, "Promise").
- In the parts view `offset` is the cursor, and no unit is returned twice. It is None, and the
  position is the cursor, once a server has sent the text alone: a node of an older version.
- `next` returns steps until `outcome` is set. The delay of a step grows with every attempt in a
  row that brought no new text; after `Backoff.attempts` of these the reading ends.
- A stream of the text alone, of an older node, does not say whether the reply was cut: a poll does,
  whose failure changes nothing about a reply that is done.
- With several transports, the one in use is given up for the next one when it can't work here, or
  after two attempts in a row that brought no text. The last transport is kept.
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
    UnitsReceived,
    Wait,
)

LONGEST_WAIT_S = 120.0
"""The longest wait in seconds that a server may ask for; a refusal with a longer one is final."""

# Attempts in a row without text after which a transport is left for the next one.
_FRUITLESS_BEFORE_SWITCH = 2


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits between attempts that bring no text: exponential, with jitter."""

    first: float = 0.2
    """The longest wait in seconds after an attempt that brought text.

    It doubles with each attempt in a row that brought none.
    """
    longest: float = 5.0
    """The seconds that no wait exceeds."""
    attempts: int = 10
    """The attempts in a row without text after which the reading ends."""

    def delay(self, fruitless: int, chance: float) -> float:
        """Return the seconds to wait after `fruitless` attempts in a row without text.

        `chance` in [0, 1) is the jitter: 0 halves the wait.
        """
        longest = min(self.longest, self.first * 2.0 ** min(fruitless, 30))
        return longest * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Step:
    """The next request of a reading: by `transport`, `delay` seconds from now.

    Without a `reply` it is the question, which the idempotency key makes safe to repeat; with one,
    the rest of that reply: behind `offset` units, or if that is None, after `after` code points.
    """

    transport: str
    reply: str | None
    after: int
    delay: float
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a reading: `done`, `stopped` or `failed`."""

    state: str
    reason: str = ""
    """Why, in one line; may be "" for any state."""
    finish_reason: str = ""
    """The finish reason (PROTOCOL.md section 1); "" if it is not known."""


class Reading:
    """The state machine of one reply's reading: signals in, text and steps out."""

    def __init__(
        self,
        transports: Sequence[str],
        *,
        parts: bool = False,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin with no reply. `transports` are tried in their order; there is at least one.

        `parts` is whether all parts are asked for. `chance` returns a number in [0, 1) for the
        jitter.
        """
        if not transports:
            raise ValueError("no transport to read by")
        self.reply: str | None = None
        """The reply's id, once it is known."""
        self.position = 0
        """The code points of the answer's text that have been read."""
        self.offset: int | None = 0 if parts else None
        """The units that have been read, or None where the position is the cursor."""
        self.outcome: Outcome | None = None
        """How it ended; None while there is more to request."""
        self.notice = ""
        """Why the transport was changed last; the caller empties it when it has shown it."""
        self._returned = 0  # the offset of the last unit that was returned
        self._transports = list(transports)
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._fruitless = 0  # attempts in a row without text
        self._fruitless_here = 0  # those of them that this transport is to blame for
        self._advanced = False  # this attempt has brought text
        self._closed = True  # no attempt is under way
        self._wait = 0.0  # seconds that the server asked for
        self._parts = parts
        self._ask_for_end = False  # only a poll says how the reply ended
        self._done = False  # it is done: the poll says only whether it was cut
        self._reached = False  # something of this server has been received
        self._repeated = False  # an attempt was made before

    @property
    def transport(self) -> str:
        """The transport in use."""
        return self._transports[0]

    def next(self) -> Step | None:
        """Return the next request; None once there is an outcome.

        It also ends the attempt before, which counts as broken when it gave no `LastSignal`.
        """
        if not self._closed:
            self.take(Broken("the connection ended too early"))
        if self.outcome is not None:
            return None
        delay = 0.0
        if self._repeated:
            delay = self._backoff.delay(self._fruitless, self._chance())
        delay = max(delay, self._wait)
        transport = "poll" if self._ask_for_end else self.transport
        self._repeated = True
        self._advanced = self._closed = False
        self._wait = 0.0
        return Step(transport, self.reply, self.position, delay, self.offset)

    def take(self, signal: Signal) -> str:
        """Update the state by one signal; return the new text in it, "" when there is none."""
        match signal:
            case Attached(reply):
                self._reached = True
                if self.reply is not None and reply != self.reply:
                    self._end("failed", "the server answered with another reply")
                self.reply = reply
            case TextReceived(position, text):
                return self._take_text(position, text)
            case UnitsReceived():
                return self._take_units(signal)
            case Wait(seconds):
                self._wait = min(max(self._wait, seconds), LONGEST_WAIT_S)
            case Broken() | Refused() if self._done:
                self._end("done", "")
            case Ended("done", None, "") if self._is_of_text_alone():
                self._closed = self._ask_for_end = self._done = True
            case Ended(state, problem, finish_reason):
                reason = "" if problem is None else str(problem)
                self._end(state, reason, finish_reason)
            case EndUnknown():
                self._closed = self._ask_for_end = True
                if self.reply is None:
                    self._end("failed", "the server did not say which reply it is")
            case Broken():
                self._take_broken(signal)
            case Refused(problem, retry_after):
                self._take_refused(problem, retry_after)
        return ""

    def _is_of_text_alone(self) -> bool:
        """Return whether a server has given the text alone where all parts were asked for."""
        asked = self._parts and self.reply is not None and not self._ask_for_end
        return asked and self.offset is None

    def _take_text(self, position: int, text: str) -> str:
        if self.outcome is not None or self._closed:
            return ""
        new = position - self.position
        if new > len(text):
            # Text is missing before this piece: the same position is requested again.
            self.take(Broken("characters were missing"))
            return ""
        if new <= 0:
            return ""
        self.position = position
        self.offset = None
        self._advance()
        return text[-new:]

    def _take_units(self, units: UnitsReceived) -> str:
        if self.outcome is not None or self._closed:
            return ""
        count = len(units.text) or 1
        before = units.offset - count
        if self.offset is not None and before > self.offset:
            # Units are missing before these: the same offset is requested again.
            self.take(Broken("a part of the reply was missing"))
            return ""
        new = min(count, units.offset - max(self.offset or 0, self._returned))
        self.offset = max(self.offset or 0, units.offset)
        if new <= 0:
            return ""
        self._returned = units.offset
        self._advance()
        text = units.text[-new:]
        if units.part == 0:
            self.position += len(text)
        return text

    def _advance(self) -> None:
        """Note that this attempt has brought something new."""
        self._advanced = True
        self._fruitless = self._fruitless_here = 0

    def _take_broken(self, broken: Broken) -> None:
        if self._closed:
            return
        self._closed = True
        if broken.unreachable and not self._reached:
            # At the first contact it is a wrong address; later, a server that restarts.
            self._end("failed", broken.reason)
            return
        if not self._advanced:
            self._fruitless += 1
            self._fruitless_here += not broken.unreachable
        if self._fruitless >= self._backoff.attempts:
            self._end(
                "failed", f"gave up after {self._fruitless} tries: {broken.reason}"
            )
        elif len(self._transports) > 1 and (
            broken.switch or self._fruitless_here >= _FRUITLESS_BEFORE_SWITCH
        ):
            left = self._transports.pop(0)
            self._fruitless_here = 0
            self.notice = f"{broken.reason}: {self.transport} in place of {left}"

    def _take_refused(self, problem: Problem, retry_after: float | None) -> None:
        self._reached = True
        unknown_offset = problem.code == "bad-cursor" or (
            problem.status == 400 and not problem.code  # the answer itself was cut
        )
        if unknown_offset and self.offset is not None and self.reply:
            # A node of an older version knows no offsets: it is asked by the position.
            self.offset = None
            self._closed = True
            return
        if retry_after is None or retry_after > LONGEST_WAIT_S:
            self._end("failed", str(problem))
            return
        self._wait = max(self._wait, retry_after)
        # The server itself refused, so another transport would fare no better.
        self._take_broken(Broken(str(problem), unreachable=True))

    def _end(self, state: str, reason: str, finish_reason: str = "") -> None:
        self._closed = True
        if self.outcome is None:
            self.outcome = Outcome(state, reason, finish_reason)
