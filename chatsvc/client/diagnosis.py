"""The diagnosis of what stands between client and service. Pure.

All trials read the same reply, so each is measured by the others: a character that has come over
one transport was sent, and whatever has not passed it on over another holds it back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatsvc.client.reader import AUTO
from chatsvc.client.retryable import OWN_STATUSES
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    LastSignal,
    Refused,
    Signal,
    TextReceived,
)

HELD_BACK_S = 0.5
"""The seconds by which a transport lags behind the others when a person begins to notice it."""
LONG_ENOUGH_S = 1.0
"""The seconds that a reply must take, for it to show whether anything holds it back."""

BUFFERS = (
    "Something collects the stream before it gives it on. nginx: `proxy_buffering off;`, and no"
    " `proxy_ignore_headers X-Accel-Buffering`. Elsewhere: no response buffering for"
    " `text/event-stream`, `application/x-ndjson` and `text/plain`."
)
"""The advice when a transport lags."""
COMPRESSES = (
    "Something compresses what chatsvc sends plain (`no-transform`), and collects it for that."
    " nginx: `gzip off;`."
)
"""The further advice when the responses of a transport that does not work are compressed."""
CUTS = (
    "Something ends the connection before the reply does. Raise its limits: nginx"
    " `proxy_read_timeout`, HAProxy `timeout server` and `timeout tunnel`; chatsvc shows that it"
    " lives every 15 s. Readers resume meanwhile."
)
"""The advice when a connection ends before the reply does."""
NO_UPGRADE = (
    "Something does not pass the upgrade on. nginx: `proxy_http_version 1.1;`, `proxy_set_header"
    ' Upgrade $http_upgrade;` and `proxy_set_header Connection "upgrade";`.'
)
"""The advice when there is no WebSocket."""
NO_ANSWER = (
    "Something keeps the request or its answer to itself: its log should say why. A long poll is"
    " answered within 30 s, a stream begins at once."
)
"""The advice when nothing comes over another transport."""
CHANGES = (
    "Something changes text on its way: no filter and no new encoding may touch these"
    " answers."
)
"""The advice when the text differs."""


@dataclass(slots=True)
class Trial:
    """What came over one transport. Times are in seconds since the request."""

    transport: str
    text: str = ""
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """For each piece, its time and the position after it in code points; both grow."""
    answered: bool = False
    """The reply's id came."""
    torn: bool = False
    """Text was missing or came twice."""
    end: LastSignal | None = None
    """The last signal; None when the connection was still open at the end of the trial."""
    ended: float = 0.0
    """The time of the last signal."""
    server: str = ""
    """The header `Via` of the response, else `Server`."""
    encoding: str = ""
    """The header `Content-Encoding` of the response."""

    def take(self, signal: Signal, time: float) -> None:
        """Record a signal that came at `time`."""
        if isinstance(signal, Attached):
            self.answered = True
        elif isinstance(signal, TextReceived):
            new = signal.position - len(self.text)
            if new != len(signal.text):
                self.torn = True
            if new > 0:
                self.text += signal.text
                self.arrivals.append((time, signal.position))
        elif isinstance(signal, LastSignal):
            self.end, self.ended = signal, time

    def arrival(self, position: int) -> float | None:
        """Return when the code point before `position` came; None if it never did."""
        index = bisect_left(self.arrivals, position, key=lambda arrival: arrival[1])
        return self.arrivals[index][0] if index < len(self.arrivals) else None


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement on one transport."""

    transport: str
    works: bool
    summary: str
    """What was found, in a clause."""
    advice: tuple[str, ...] = ()
    """How to mend it; empty when it works, or when no proxy is to blame."""


def _earliest(position: int, trials: Sequence[Trial]) -> float:
    """Return when the code point before `position` first came; at least one trial has it."""
    times = (trial.arrival(position) for trial in trials)
    return min(time for time in times if time is not None)


def lag(trial: Trial, trials: Sequence[Trial]) -> float:
    """Return the most seconds by which a character came later over `trial` than over any other."""
    most, before = 0.0, 0
    for time, position in trial.arrivals:
        first = _earliest(before + 1, trials)
        most, before = max(most, time - first), position
    return most


def duration(trials: Sequence[Trial]) -> float:
    """Return the seconds from the first character to the last, each when it first came."""
    length = max(len(trial.text) for trial in trials)
    if not length:
        return 0.0
    return _earliest(length, trials) - _earliest(1, trials)


def judge(trial: Trial, trials: Sequence[Trial]) -> Finding:
    """Return the finding on `trial`, which is one of `trials`: all those of the same reply."""
    end, whole = trial.end, max((other.text for other in trials), key=len)
    if isinstance(end, Refused) and end.problem.code:
        return Finding(trial.transport, False, f"chatsvc refuses: {end.problem}")
    if _no_proxy_to_blame(end):
        return Finding(trial.transport, False, _reason(end))
    if not trial.answered:
        return _fault(
            trial, _reason(end), _NO_ANSWER_OF.get(trial.transport, NO_ANSWER)
        )
    if trial.torn or not whole.startswith(trial.text):
        return _fault(trial, "gives another text than the others", CHANGES)
    seconds = lag(trial, trials)
    if seconds >= HELD_BACK_S:
        return _fault(trial, f"held back, up to {seconds:.1f} s", BUFFERS)
    if len(trial.text) < len(whole) or end is None:
        how = "fell silent" if end is None else f"cut at {trial.ended:.1f} s,"
        where = f"after {len(trial.text)} of {len(whole)} characters"
        return _fault(trial, f"{how} {where}", CUTS)
    summary = f"works: at most {seconds * 1000:.0f} ms behind"
    if isinstance(end, Ended) and end.state == "failed":
        summary = f"works, but the reply failed: {end.problem}"
    elif duration(trials) < LONG_ENOUGH_S:
        summary = (
            "works, but the reply came too fast to see whether anything holds it back"
        )
    return Finding(trial.transport, True, summary)


_NO_ANSWER_OF = {"websocket": NO_UPGRADE}


def _no_proxy_to_blame(end: LastSignal | None) -> bool:
    """Return whether the server can't be reached, or may itself have refused."""
    if isinstance(end, Refused):
        return end.problem.status in OWN_STATUSES
    return isinstance(end, Broken) and end.unreachable


def _reason(end: LastSignal | None) -> str:
    match end:
        case Refused(problem):
            return str(problem)
        case Broken(reason):
            return reason
    return "no answer came"


def _fault(trial: Trial, summary: str, advice: str) -> Finding:
    """Return the finding of a fault. Compression is named as well, for it may be the cause."""
    compressed = trial.encoding not in ("", "identity")
    all_advice = (advice, COMPRESSES) if compressed else (advice,)
    return Finding(trial.transport, False, summary, all_advice)


def best_transport(findings: Sequence[Finding]) -> str | None:
    """Return what the page and `chatsvc ask` end up with by themselves; None if nothing works."""
    working = {finding.transport for finding in findings if finding.works}
    return next((transport for transport in AUTO if transport in working), None)
