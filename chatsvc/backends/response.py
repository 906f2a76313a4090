"""The interfaces between a connection and an answer: who takes a response's body, and who reads it.

A connection hands the bytes of a response to a `Receiver`; what they mean is the business of a
`ResponseReader`. Between them stands `chatsvc.backends.answer.Answer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatsvc.model import Finish, Piece
from chatsvc.problems import BackendFailed

Take = Callable[[Piece], bool]
"""A function that takes a piece at once, if it can, and returns whether it did. It never raises."""


class ResponseReader(Protocol):
    """The pure reader of one response of status 200: it never awaits and knows no connection.

    `Answer` feeds it the bytes of the body as they arrive, unpacked and at most
    `chatsvc.backends.body.TURN_BYTES` at once. The event loop waits while it works on them. `feed`
    and `end` raise nothing: a failure is told by `failure`, so that the pieces before it are not
    lost.
    """

    @property
    def complete(self) -> bool:
        """Whether the answer is complete, so that nothing more of the body need be read."""

    @property
    def progress(self) -> int:
        """A count that grows with each `feed` that brought something of an answer.

        What `next_text` returned is progress, too, and not counted.

        Whatever only keeps the connection open, as a comment or an empty event does, does not
        count: what brings no progress is limited in time and in bytes.
        """

    @property
    def failure(self) -> BackendFailed | None:
        """The failure that the last `feed` or `end` met, or None.

        It is the reply's failure, once the pieces that came with it and `rest` are passed on.
        Nothing more is fed then. A `TransientFailure` may be asked again.
        """

    @property
    def finish(self) -> Finish | None:
        """How the answer finished, once the server has said so; its usage may still follow.

        It is None again when more of the answer has followed: the server has said it too early.
        """

    @property
    def linger_s(self) -> float:
        """The seconds in which something may follow a `finish`, from the last progress on.

        Then the answer counts as complete.
        """

    def next_text(self, data: bytes) -> str | None:
        """Return the text in the next bytes if they bring that and change nothing else, else None.

        It is not empty and whole at once. After None nothing has happened: `feed` reads the bytes.
        """

    def feed(self, data: bytes) -> list[Piece]:
        """Return what the next bytes of the body complete, as few pieces as hold it in order."""

    def end(self) -> list[Piece]:
        """Return what a clean end of the body completes; call it once.

        If `finish` and `failure` are None afterwards, the server broke off.
        """

    def rest(self) -> list[Piece]:
        """Return, once, what was held back for a continuation: none will come.

        It belongs to the reply even if the connection broke, and is always valid Unicode.
        """


class Receiver(Protocol):
    """The receiver of a response's body, which a connection feeds and asks when to give up.

    Times are those of the event loop's clock, in seconds. None of the methods raises or awaits.
    """

    @property
    def over(self) -> bool:
        """Whether nothing more of the body is wanted."""

    @property
    def complete(self) -> bool:
        """Whether it is over and had all that it wanted, so that the response should end now."""

    @property
    def held(self) -> int:
        """How much waits to be taken on, in code points or as much as these (see `answer.weight`)."""

    @property
    def deadline(self) -> float:
        """The time at which `look` is to be called; what arrives may bring it forward."""

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes of the body, unpacked, at most `TURN_BYTES`."""

    def end(self) -> None:
        """Note that the body has come to its end."""

    def break_off(self) -> None:
        """Note that the connection broke before the end of the body."""

    def fail(self, failure: BackendFailed) -> None:
        """Note that the body can't be unpacked."""

    def look(self, now: float) -> None:
        """Be over if too little has come by now, else set a later deadline."""

    def read_again(self, now: float) -> None:
        """Note that the connection is read again, after it was not because too much was held."""
