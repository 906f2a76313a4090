"""The codec of a reply's parts as JSON objects: the frames of `chatsvc.v2` (PROTOCOL.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.replies import PartItem
from chatsvc.requests.values import PARTS_SUBPROTOCOL, View
from chatsvc.transports.codec import PartsCodec
from chatsvc.transports.part_json import end_json, part_json, text_json
from chatsvc.units import ANSWER


class PartFrames(PartsCodec):
    """The codec of JSON objects with the fields of the server-sent events of `PartEvents`.

    The event of a text is `{"id":"<reply>:@13","data":{"type":"delta",…}}`. The view's `key` is
    echoed as the last member of the first event, whatever that is.
    """

    __slots__ = ("_key", "_named", "_prefix")
    transport = PARTS_SUBPROTOCOL

    line_end: ClassVar[bytes] = b""
    """What stands behind each object."""

    def __init__(self, reply_id: str, view: View) -> None:
        super().__init__()
        self._prefix = f'{{"id":"{reply_id}:'.encode()
        self._named = f'{{"reply":"{reply_id}","data":'.encode()
        self._key = view.key

    def text_event(self, offset: int, text: str) -> bytes:
        """See `PartsCodec.text_event`."""
        return self._event(b"@%d" % offset, text_json(ANSWER, text))

    def block_event(self, data: bytes) -> bytes:
        """See `PartsCodec.block_event`."""
        return b"%b%b%b}%b" % (self._named, data, self._echo(), self.line_end)

    def events(self, items: Sequence[PartItem]) -> list[bytes]:
        """See `PartsCodec.events`."""
        return [self._event(b"@%d" % item.offset, part_json(item)) for item in items]

    def end(self, end: End) -> list[bytes]:
        """Return the event that says how the reply ended, then that of `[DONE]`."""
        return [self.end_event(end), self._event(END.encode(), b'"[DONE]"')]

    def end_event(self, end: End) -> bytes:
        """Return the event that says how the reply ended."""
        return self._event(END.encode(), end_json(end))

    def sent_away(self) -> list[bytes]:
        """Return no events: a client resumes a stream that ends without `[DONE]`."""
        return []

    def _event(self, place: bytes, data: bytes) -> bytes:
        key = self._echo()
        return b'%b%b","data":%b%b}%b' % (self._prefix, place, data, key, self.line_end)

    def _echo(self) -> bytes:
        """Return the member `key` of the first event, else nothing."""
        if not self._key:
            return b""
        key, self._key = b',"key":%b' % msgspec.json.encode(self._key), ""
        return key
