"""One reply, as it came over several transports at once, and what that tells of whatever stands between. Pure.

All trials read the same reply, so each is measured by the others: a character that has come over one transport was out,
and whatever has not brought it yet holds it back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatsvc.client.reader import AUTO
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    EndUnknown,
    Refused,
    Signal,
    TextReceived,
)

HELD_BACK = 0.5
"""Seconds behind the others from which on a person sees it."""
LONG_ENOUGH = 1.0
"""Seconds that a reply must take to come, for it to show who holds it back."""
OWN = (401, 403, 429, 503)
"""Statuses that are likely the service's own, though its problem is not with them: an upgrade is refused without."""

BUFFERS = (
    "Something collects the stream before it gives it on. nginx: `proxy_buffering off;`, and no `proxy_ignore_headers"
    " X-Accel-Buffering`. Elsewhere: no response buffering for `text/event-stream` and `text/plain`."
)
COMPRESSES = "Something compresses what chatsvc sends plain (`no-transform`), and collects it for that. nginx: `gzip off;`."
CUTS = (
    "Something ends the connection before the reply does. Raise its limits: nginx `proxy_read_timeout`, HAProxy"
    " `timeout server` and `timeout tunnel`; chatsvc shows that it lives every 15 s. Readers resume meanwhile."
)
NO_UPGRADE = (
    "Something does not pass the upgrade on. nginx: `proxy_http_version 1.1;`, `proxy_set_header Upgrade $http_upgrade;`"
    ' and `proxy_set_header Connection "upgrade";`.'
)
NO_ANSWER = (
    "Something keeps the request or its answer to itself: its log should say why. A long poll is answered within 30 s,"
    " a stream begins at once."
)
CHANGES = "Something changes text on its way: no filter and no new encoding may touch these answers."


@dataclass(slots=True)
class Trial:
    """What came over one transport; moments are seconds after the question."""

    transport: str
    text: str = ""
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When there was text up to which position (code points); both grow."""
    answered: bool = False
    """Whose reply it is was known."""
    torn: bool = False
    """TextReceived were missing or came out of order."""
    end: Signal | None = None
    """The last signal; None when nothing more came."""
    ended: float = 0.0
    server: str = ""
    """Who says that it answered: `Via`, else `Server`."""
    encoding: str = ""
    """The `Content-Encoding` of the answer."""

    def take(self, signal: Signal, moment: float) -> None:
        """Note a signal."""
        if isinstance(signal, Attached):
            self.answered = True
        elif isinstance(signal, TextReceived):
            new = signal.position - len(self.text)
            if new != len(signal.text):
                self.torn = True
            if new > 0:
                self.text += signal.text
                self.arrivals.append((moment, signal.position))
        elif isinstance(signal, Ended | EndUnknown | Broken | Refused):
            self.end, self.ended = signal, moment

    def had(self, position: int) -> float | None:
        """When it had the code point before `position`."""
        index = bisect_left(self.arrivals, position, key=lambda arrival: arrival[1])
        return self.arrivals[index][0] if index < len(self.arrivals) else None


@dataclass(frozen=True, slots=True)
class Finding:
    """What there is to say of a transport: in a clause, and how to mend it. `works` is whether it is as it should be."""

    transport: str
    works: bool
    says: str
    mend: tuple[str, ...] = ()


def _earliest(position: int, trials: Sequence[Trial]) -> float:
    """When the first of them had the code point before `position`, which one has."""
    times = (trial.had(position) for trial in trials)
    return min(time for time in times if time is not None)


def behind(trial: Trial, trials: Sequence[Trial]) -> float:
    """The most seconds that a character came later over one transport than over any."""
    most, before = 0.0, 0
    for moment, position in trial.arrivals:
        first = _earliest(before + 1, trials)
        most, before = max(most, moment - first), position
    return most


def took(trials: Sequence[Trial]) -> float:
    """The seconds from the first character to the last, each as early as any transport had it."""
    length = max(len(trial.text) for trial in trials)
    if not length:
        return 0.0
    return _earliest(length, trials) - _earliest(1, trials)


def judge(trial: Trial, trials: Sequence[Trial]) -> Finding:
    """What one of the trials of a reply shows, beside all of them."""
    end, whole = trial.end, max((other.text for other in trials), key=len)
    if isinstance(end, Refused) and end.problem.code:
        return Finding(trial.transport, False, f"chatsvc refuses: {end.problem}")
    if _is_nobodys_fault(end):
        return Finding(trial.transport, False, _why(end))
    if not trial.answered:
        return _found(trial, _why(end), _ANSWERLESS.get(trial.transport, NO_ANSWER))
    if trial.torn or not whole.startswith(trial.text):
        return _found(trial, "gives another text than the others", CHANGES)
    late = behind(trial, trials)
    if late >= HELD_BACK:
        return _found(trial, f"held back, up to {late:.1f} s", BUFFERS)
    if len(trial.text) < len(whole) or end is None:
        how = "fell silent" if end is None else f"cut at {trial.ended:.1f} s,"
        place = f"after {len(trial.text)} of {len(whole)} characters"
        return _found(trial, f"{how} {place}", CUTS)
    says = f"works: at most {late * 1000:.0f} ms behind"
    if isinstance(end, Ended) and end.state == "failed":
        says = f"works, but the reply failed: {end.problem}"
    elif took(trials) < LONG_ENOUGH:
        says = (
            "works, but the reply came too fast to see whether anything holds it back"
        )
    return Finding(trial.transport, True, says)


_ANSWERLESS = {"websocket": NO_UPGRADE}


def _is_nobodys_fault(end: Signal | None) -> bool:
    """Whether nobody listens there, or the service may have said no itself."""
    if isinstance(end, Refused):
        return end.problem.status in OWN
    return isinstance(end, Broken) and end.unreachable


def _why(end: Signal | None) -> str:
    match end:
        case Refused(problem):
            return str(problem)
        case Broken(why):
            return why
    return "no answer came"


def _found(trial: Trial, says: str, mend: str) -> Finding:
    """Something is wrong; that it is compressed may be why."""
    compressed = trial.encoding not in ("", "identity")
    return Finding(
        trial.transport, False, says, (mend, COMPRESSES) if compressed else (mend,)
    )


def chosen(findings: Sequence[Finding]) -> str | None:
    """What the page and `chatsvc ask` end up with by themselves, if anything works."""
    working = {finding.transport for finding in findings if finding.works}
    return next((transport for transport in AUTO if transport in working), None)
