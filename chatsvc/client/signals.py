"""The signals of a transport: what it reports of a reply (PROTOCOL.md section 1).

Invariants:

- A connection gives any number of `Attached`, `TextReceived`, `UnitsReceived` and `Wait`, then at most one
  `LastSignal`, and nothing after that.
- A connection that ends without a `LastSignal` counts as `Broken`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of PROTOCOL.md section 6, or what a proxy answered in place of one."""

    status: int
    """The HTTP status, or the close code of a WebSocket; 0 when it is not known."""
    title: str
    detail: str = ""
    code: str = ""
    """The code of the table; "" when something else than chatsvc answered."""

    def __str__(self) -> str:
        line = f"{self.title}: {self.detail}" if self.detail else self.title
        return " ".join(line.split())


@dataclass(frozen=True, slots=True)
class Attached:
    """The reply's id has become known."""

    reply: str


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A piece of the reply's text has come; its last code point is the `position`-th."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class UnitsReceived:
    """Some units of one part have come, in the parts view; the last is the `offset`-th of the reply."""

    offset: int
    part: int
    """The number of the part; 0 is the answer's text."""
    kind: str
    """The kind of the part; "text" for part 0, "" if it is not known."""
    text: str
    """The text that they are; "" for a mark, which is one unit."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The server asks for at least this many seconds before the next connection."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The reply has ended as `state`: `done`, `stopped` or `failed`."""

    state: str
    problem: Problem | None = None
    finish_reason: str = ""
    """Why it ended; "" if the transport does not say it."""


@dataclass(frozen=True, slots=True)
class EndUnknown:
    """Nothing is left to read over this transport, and it does not say how the reply ended."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection ended too early, fell silent, or was never made."""

    reason: str
    """A clause for the user: "the connection broke"."""
    switch: bool = False
    """This transport won't work here, and another may: switch at once."""
    unreachable: bool = False
    """The server can't be reached, so the transport is not to blame."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused the request."""

    problem: Problem
    retry_after: float | None = None
    """The seconds after which it may accept the same request; None when it never will."""


LastSignal = Ended | EndUnknown | Broken | Refused
"""The signals after which a connection gives no more."""

Signal = Attached | TextReceived | UnitsReceived | Wait | LastSignal
"""Everything that a transport reports."""
