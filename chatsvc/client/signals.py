"""What a transport tells: its part of the wire, in the words of PROTOCOL.md section 1.

A transport gives any number of Attached, TextReceived and Wait, and then nothing more, or
one of the rest. Giving nothing more counts as Broken.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of PROTOCOL.md section 6, or what came in place of one."""

    status: int
    title: str
    detail: str = ""
    code: str = ""
    """Of the table; empty when something else than chatsvc answered."""

    def __str__(self) -> str:
        line = f"{self.title}: {self.detail}" if self.detail else self.title
        return " ".join(line.split())


@dataclass(frozen=True, slots=True)
class Attached:
    """The reply's id is known."""

    reply: str


@dataclass(frozen=True, slots=True)
class TextReceived:
    """Text whose last code point is the reply's `position`-th."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The server asks for this many seconds before the next connection."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The reply has ended: `done`, `stopped` or `failed`."""

    state: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class EndUnknown:
    """Nothing is left to read here; how the reply ended has to be asked for."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection ended, fell silent, or never came to be; `why` is a clause."""

    why: str
    leave: bool = False
    """Another transport may fare better, and this one won't."""
    unreachable: bool = False
    """Nobody listens there, so no transport is to blame."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said no; `retry_after` seconds later it may say yes, None is never."""

    problem: Problem
    retry_after: float | None = None


Signal = Attached | TextReceived | Wait | Ended | EndUnknown | Broken | Refused
