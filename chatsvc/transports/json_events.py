"""The codec of events as JSON objects: the frames of `chatsvc.v1` (PROTOCOL.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.requests.values import SUBPROTOCOL, View
from chatsvc.transports.codec import DIGITS, Codec, stop_problem


class JsonEvents(Codec):
    """The codec of JSON objects with the fields of server-sent events.

    The event of a character is `{"id":"<reply>:1","data":"你"}`. The view's `key` is echoed as the
    last member of the first event, which is the end's if the stream has no character.
    """

    __slots__ = ("_key", "_reply_id")
    transport = SUBPROTOCOL

    def __init__(self, reply_id: str, view: View) -> None:
        prefix = f'{{"id":"{reply_id}:'.encode()
        super().__init__(self.data_member, prefix=prefix, numbers=DIGITS)
        self._reply_id = reply_id
        self._key = view.key

    @staticmethod
    def data_member(data: str) -> bytes:
        """Return what follows the position in an event: the `data` member and the closing brace."""
        return b'","data":%b}' % msgspec.json.encode(data)

    @staticmethod
    def named_event(members: dict[str, Any]) -> bytes:
        """Return an event that has more members than an id and data."""
        return msgspec.json.encode(members)

    def events(self, position: int, run: Sequence[str]) -> list[bytes]:
        """See `Codec.events`."""
        return self._with_key(super().events(position, run))

    def end(self, end: End) -> list[bytes]:
        """Return the named event of an end other than `done`, then `[DONE]`."""
        done = self.prefix + END.encode() + self.data_member("[DONE]")
        if end.state == "done":
            return self._with_key([done])
        members = {
            "event": end.state,
            "id": f"{self._reply_id}:{END}",
            "data": end.problem or stop_problem(end),
        }
        return self._with_key([self.named_event(members), done])

    def sent_away(self) -> list[bytes]:
        """Return no events: a client resumes a stream that ends without `[DONE]`."""
        return []

    def _with_key(self, events: list[bytes]) -> list[bytes]:
        if self._key:
            events[0] = events[0][:-1] + b',"key":%b}' % msgspec.json.encode(self._key)
            self._key = ""
        return events
