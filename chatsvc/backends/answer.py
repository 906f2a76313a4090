"""One answer of a model server as it arrives, and the limits in which it ends.

It keeps no reply waiting for ever, whatever the server does. Nothing here awaits, knows a connection
or reads a clock.
"""

from __future__ import annotations

from collections import deque

from chatsvc.backends.errors import TOO_MUCH, TransientFailure
from chatsvc.backends.response import ResponseReader, Take
from chatsvc.model import (
    Extra,
    File,
    Finish,
    Piece,
    Reasoning,
    ToolCall,
)
from chatsvc.problems import BackendFailed

MOST_SILENT_TIMEOUTS = 5
"""Timeouts after which a response fails that brings bytes, but nothing of an answer: comments that
keep a connection open would otherwise keep a reply waiting for ever."""

QUIET_LIMIT_BYTES = 2 << 20
"""The most bytes, unpacked, between two that bring something of an answer: more fail the response.
It is twice the largest event and the largest completion in one piece that a reader takes by default."""

RESPONSE_LIMIT_BYTES = 128 << 20
"""The most bytes, unpacked, that a response may have: 400,000 tokens, each in its own event."""

PIECE_WEIGHT = 64
"""What a piece weighs that is no text, beside the texts in it."""


def weight(piece: Piece) -> int:
    """Return how much a piece adds to what waits: about its code points."""
    if isinstance(piece, str):
        return len(piece)
    match piece:
        case Reasoning():
            return PIECE_WEIGHT + len(piece.text)
        case ToolCall():
            beside = _weight(piece.metadata) + _weight(piece.more)
            return PIECE_WEIGHT + len(piece.arguments) + beside
        case File():
            return PIECE_WEIGHT + len(piece.url)
        case Extra():
            return PIECE_WEIGHT + _weight(piece.value)
    return PIECE_WEIGHT


def _weight(value: object) -> int:
    """Return about how many code points a value of JSON has."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return 1 + sum(map(_weight, value))
    if isinstance(value, dict):
        return 1 + sum(len(name) + _weight(each) for name, each in value.items())
    return 1


class Answer:
    """One answer as it arrives: a `Receiver` whose pieces are taken on, in their order.

    `timeout` is the longest silence in seconds, `now` the time at which the response's head came.
    Each piece is offered to `take`; one that it does not take, and all behind that, wait in
    `pieces` until they are removed by `drop`. `given` is how many pieces there have been. Once
    `over`, `failure` is None if the answer is complete.

    It fails when the server falls silent, brings no progress for `MOST_SILENT_TIMEOUTS` timeouts or
    `quiet_limit` bytes (by default `QUIET_LIMIT_BYTES`), sends more than `RESPONSE_LIMIT_BYTES` or
    what can't be unpacked; with a `TransientFailure` when the server breaks off; and with the
    failure of `reader`. What was held back for a continuation is a piece then. After a finish
    nothing fails any more but `reader`: at the next limit, and after the reader's `linger_s`
    without progress, the answer counts as complete.
    """

    __slots__ = (
        "_came",
        "_finished",
        "_heard",
        "_progress",
        "_quiet",
        "_quiet_limit",
        "_reader",
        "_size",
        "_take",
        "_timeout",
        "deadline",
        "failure",
        "given",
        "held",
        "over",
        "pieces",
    )

    def __init__(
        self,
        reader: ResponseReader,
        timeout: float,
        now: float,
        take: Take | None = None,
        quiet_limit: int | None = None,
    ) -> None:
        self.pieces: deque[Piece] = deque()
        self.given = 0
        self.held = 0
        self.over = False
        self.failure: BackendFailed | None = None
        self.deadline = now + timeout
        self._reader = reader
        self._timeout = timeout
        self._take = take
        self._progress = reader.progress
        self._came = now  # when anything came
        self._heard = now  # when something of an answer came
        self._finished = False  # the finish has come, and brought the deadline forward
        self._quiet_limit = QUIET_LIMIT_BYTES if quiet_limit is None else quiet_limit
        self._size = 0  # bytes of the body
        self._quiet = 0  # those of them since something of an answer came

    @property
    def complete(self) -> bool:
        """See `Receiver.complete`."""
        return self.over and self.failure is None

    @property
    def finish(self) -> Finish | None:
        """See `ResponseReader.finish`."""
        return self._reader.finish

    def drop(self) -> None:
        """Remove the first of `pieces`: it has been taken on."""
        piece = self.pieces.popleft()
        self.held = self.held - weight(piece) if self.pieces else 0

    def feed(self, data: bytes, now: float) -> None:
        """See `Receiver.feed`."""
        text = self._reader.next_text(data)
        if text is None:
            self._feed(data, now)
            return
        # So it is with nearly every token.
        self.given += 1
        self._came = self._heard = now
        self._quiet = 0
        self._size += len(data)
        if self.pieces or self._take is None or not self._take(text):
            self.pieces.append(text)
            self.held += len(text)
        if self._size > RESPONSE_LIMIT_BYTES:
            self._close(BackendFailed(TOO_MUCH))

    def _feed(self, data: bytes, now: float) -> None:
        reader = self._reader
        pieces = reader.feed(data)
        over = reader.complete
        if pieces:
            if over:
                # The caller is woken anyhow, and adds them together with the end.
                self._take = None
            self._give(pieces)
        self._came = now
        self._size += len(data)
        progress = reader.progress
        if progress != self._progress:
            self._progress, self._heard, self._quiet = progress, now, 0
        else:
            self._quiet += len(data)
        if over or reader.failure is not None:
            self._close(None)
        elif self._quiet > self._quiet_limit or self._size > RESPONSE_LIMIT_BYTES:
            self._close(BackendFailed(TOO_MUCH))
        elif self._finished is (reader.finish is None):
            self._finished = not self._finished
            self.deadline = self._latest()

    def end(self) -> None:
        """See `Receiver.end`."""
        if not self.over:
            self._give(self._reader.end())
            self._close(None)

    def break_off(self) -> None:
        """See `Receiver.break_off`."""
        self._close(None)

    def fail(self, failure: BackendFailed) -> None:
        """See `Receiver.fail`."""
        self._close(failure)

    def look(self, now: float) -> None:
        """See `Receiver.look`."""
        self.deadline = self._latest()
        if now >= self.deadline:
            self._close(BackendFailed("The model's server fell silent."))

    def read_again(self, now: float) -> None:
        """See `Receiver.read_again`: the time for which nothing was read is no silence."""
        self._came = self._heard = now
        self.deadline = self._latest()

    def _latest(self) -> float:
        """Return the time until which the answer may wait for more, after what has come."""
        if self._finished:
            return self._heard + min(self._timeout, self._reader.linger_s)
        silent = self._heard + MOST_SILENT_TIMEOUTS * self._timeout
        return min(silent, self._came + self._timeout)

    def _give(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self.given += 1
            if self.pieces or self._take is None or not self._take(piece):
                self.pieces.append(piece)
                self.held += weight(piece)

    def _close(self, failure: BackendFailed | None) -> None:
        """End the answer: complete if it has its finish, else with a failure.

        `failure` is that of a limit that was reached, or None where the server's bytes have ended.
        """
        if self.over:
            return
        self.over = True
        self._give(self._reader.rest())
        if self._reader.failure is not None:
            self.failure = self._reader.failure
        elif self._reader.finish is None:
            self.failure = failure or TransientFailure("The model's server broke off.")
