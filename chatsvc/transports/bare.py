"""The codec of bare characters over a WebSocket (PROTOCOL.md section 4).

These are the frames for clients that ask for no subprotocol.
"""

from __future__ import annotations

from chatsvc.model import End
from chatsvc.requests.values import View
from chatsvc.transports.codec import Codec

DONE = b"[DONE]"
"""The last frame of a reply. It has six characters, so it can't be one character of the text."""


class BareCharacters(Codec):
    """The codec of a reply's characters, then `[DONE]`.

    It has no event for a failure: the connection's close code says it.
    """

    __slots__ = ()
    transport = "websocket"

    def __init__(self, reply_id: str, view: View) -> None:
        super().__init__(str.encode)

    def end(self, end: End) -> list[bytes] | None:
        """Return `[DONE]`, or None for a reply that failed."""
        return None if end.state == "failed" else [DONE]

    def sent_away(self) -> None:
        """Return None: the connection is closed with the code of `draining`."""
