"""The codec of bare text: `text/plain` (PROTOCOL.md section 2).

It is for `curl`, and for clients that want the text alone.
"""

from __future__ import annotations

from chatsvc.model import End
from chatsvc.requests.values import View
from chatsvc.transports.codec import Codec


class PlainText(Codec):
    """The codec of a reply's text as it is.

    Nothing in the text marks its end, so a body that is not whole is broken off.
    """

    __slots__ = ()
    transport = "text"
    media_type = "text/plain"
    marks_end = False
    joins = True  # in plain text it looks the same

    def __init__(self, reply_id: str, view: View) -> None:
        super().__init__(str.encode)

    def end(self, end: End) -> list[bytes] | None:
        """Return no events for a reply that is done or was stopped, None for a failed one."""
        return None if end.state == "failed" else []

    def sent_away(self) -> None:
        """Return None: text can't say that there is more of it elsewhere."""
