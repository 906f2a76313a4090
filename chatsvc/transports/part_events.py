"""The codec of a reply's parts as server-sent events: `?view=parts` (PROTOCOL.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.replies import PartItem
from chatsvc.requests.values import View
from chatsvc.transports.codec import PartsCodec
from chatsvc.transports.heartbeat import PROBE_TIMES_US, stamp
from chatsvc.transports.part_json import end_json, part_json, text_json
from chatsvc.transports.sse import DONE, retry_event
from chatsvc.units import ANSWER


class PartEvents(PartsCodec):
    """The codec of server-sent events, one for each mark and text, with JSON as data.

    None of them has a name, so a native `EventSource` gets all of them by one `onmessage`. If
    `view.announced` is true, an event that has only the id of offset 0 goes before the first.
    """

    __slots__ = ("_announced", "_prefix")
    transport = "sse"

    def __init__(self, reply_id: str, view: View) -> None:
        super().__init__(PROBE_TIMES_US)
        self._prefix = f"id: {reply_id}:".encode()
        self._announced = view.announced

    def first(self) -> list[bytes]:
        """See `StreamCodec.first`."""
        return [stamp(), self._prefix + b"@0\n\n"] if self._announced else [stamp()]

    def text_event(self, offset: int, text: str) -> bytes:
        """See `PartsCodec.text_event`."""
        data = text_json(ANSWER, text)
        return b"%b@%d\ndata: %b\n\n" % (self._prefix, offset, data)

    def block_event(self, data: bytes) -> bytes:
        """See `PartsCodec.block_event`."""
        return b"data: %b\n\n" % data

    def events(self, items: Sequence[PartItem]) -> list[bytes]:
        """See `PartsCodec.events`."""
        return [
            b"%b@%d\ndata: %b\n\n" % (self._prefix, item.offset, part_json(item))
            for item in items
        ]

    def end(self, end: End) -> list[bytes]:
        """Return the event that says how the reply ended, then `[DONE]`."""
        prefix = self._prefix + END.encode()
        return [b"%b\ndata: %b\n\n" % (prefix, end_json(end)), prefix + b"\n" + DONE]

    def sent_away(self) -> list[bytes]:
        """Return a `retry` and no `[DONE]`, so that the client comes back, to another node."""
        return [retry_event()]
