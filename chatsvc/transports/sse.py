"""The codec of server-sent events (PROTOCOL.md section 3; WHATWG HTML section 9.2)."""

from __future__ import annotations

import random

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.requests.values import View
from chatsvc.transports.codec import DIGITS, Codec, stop_problem
from chatsvc.transports.heartbeat import PROBE_TIMES_US, stamp
from chatsvc.transports.json_line import json_line

RETRY_RANGE_MS = (100, 1500)
"""The range (milliseconds) of the random delays after which readers that are sent away come back.

Without them all would come back at once.
"""

DONE = b"data: [DONE]\n\n"
"""The last event of a stream: the client has all of it, and is not to come back."""


def data_lines(character: str) -> bytes:
    """Return a character as `data` lines and the blank line that ends an event.

    A newline is two empty lines, which a parser joins by a newline [WHATWG]. No other character has
    one in it (UAX #29, GB4).
    """
    if character == "\n":
        return b"data:\ndata:\n\n"
    return f"data: {character}\n\n".encode()


def _data_behind_id(character: str) -> bytes:
    return b"\n" + data_lines(character)


def json_event(members: object) -> bytes:
    """Return an event whose data is an object in one line of JSON."""
    return b"data: %b\n\n" % json_line(members)


def retry_event() -> bytes:
    """Return a `retry` field [WHATWG: milliseconds] with a random delay from `RETRY_RANGE_MS`."""
    return b"retry: %d\n\n" % random.randint(*RETRY_RANGE_MS)


class SseEvents(Codec):
    """The codec of server-sent events, with ids and comments or, if `view.ids` is false, neither.

    If `view.announced` is true, an event that has only the id of position 0 goes before the first
    character. An `EventSource` remembers the id of an event without data and does not dispatch the
    event [WHATWG], so that it can resume from the start if it has to reconnect.
    """

    __slots__ = ("_announced", "_ids")
    transport = "sse"

    def __init__(self, reply_id: str, view: View) -> None:
        if view.ids:
            super().__init__(
                _data_behind_id,
                prefix=f"id: {reply_id}:".encode(),
                numbers=DIGITS,
                probe_times_us=PROBE_TIMES_US,
            )
        else:
            super().__init__(data_lines)
        self._ids = view.ids
        self._announced = view.announced

    def first(self) -> list[bytes]:
        """See `Codec.first`."""
        if not self._ids:
            return []
        return [stamp(), self.prefix + b"0\n\n"] if self._announced else [stamp()]

    def end(self, end: End) -> list[bytes]:
        """Return the named event of an end other than `done`, then `[DONE]`."""
        done = self.prefix + END.encode() + b"\n" + DONE if self._ids else DONE
        if end.state == "done":
            return [done]
        problem = json_line(end.problem or stop_problem(end))
        return [b"event: %b\ndata: %b\n\n" % (end.state.encode(), problem), done]

    def sent_away(self) -> list[bytes]:
        """Return a `retry` and no `[DONE]`, so that the client comes back, to another node."""
        return [retry_event()] if self._ids else []
