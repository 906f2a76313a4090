"""The receivers of bodies that are no answer: of a refusal, and of what follows a complete answer.

Each is a `Receiver` (`chatsvc.backends.response`) that holds nothing to be taken on.
"""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.problems import BackendFailed

REFUSAL_LIMIT_BYTES = 64 * 1024
"""How much of a refusal's body is read, unpacked."""

DRAIN_S = 0.25
"""The seconds in which a response must end whose answer is complete, for its connection to be used
again."""

DRAIN_LIMIT_BYTES = 4 * 1024
"""The most bytes that may follow a complete answer, for the connection to be used again."""


class _Unheld:
    """What both receivers have in common: whatever ends the body is its end."""

    __slots__ = ("deadline", "over")

    complete = False
    held = 0

    def __init__(self, deadline: float) -> None:
        self.over = False
        self.deadline = deadline

    def end(self) -> None:
        """See `Receiver.end`."""
        self.over = True

    def break_off(self) -> None:
        """See `Receiver.break_off`."""
        self.end()

    def fail(self, failure: BackendFailed) -> None:
        """See `Receiver.fail`."""
        self.end()

    def look(self, now: float) -> None:
        """See `Receiver.look`."""
        self.end()

    def read_again(self, now: float) -> None:
        """See `Receiver.read_again`: it holds nothing, so there is no such time."""


class RefusalBody(_Unheld):
    """A `Receiver` of a refusal's body: `content` is what has come of it by `deadline`.

    Without its end it has to do, and beyond `REFUSAL_LIMIT_BYTES` nothing is read.
    """

    __slots__ = ("content",)

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)
        self.content = bytearray()

    def feed(self, data: bytes, now: float) -> None:
        """See `Receiver.feed`."""
        self.content += data
        if len(self.content) >= REFUSAL_LIMIT_BYTES:
            del self.content[REFUSAL_LIMIT_BYTES:]
            self.over = True


class Rest(_Unheld):
    """A `Receiver` of what follows a complete answer: it calls `on_over`, once, when that is over.

    That is at the end of the body, at `deadline`, or after `DRAIN_LIMIT_BYTES`.
    """

    __slots__ = ("_on_over", "_size")

    def __init__(self, deadline: float, on_over: Callable[[], None]) -> None:
        super().__init__(deadline)
        self._on_over = on_over
        self._size = 0

    def feed(self, data: bytes, now: float) -> None:
        """See `Receiver.feed`."""
        self._size += len(data)
        if self._size > DRAIN_LIMIT_BYTES:
            self.end()

    def end(self) -> None:
        """See `Receiver.end`."""
        if not self.over:
            self.over = True
            self._on_over()
