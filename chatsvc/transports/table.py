"""The table of streams: from a media type or a WebSocket subprotocol to the codec that speaks it.

A new kind of stream is one module with a codec, and one line here. `chatsvc.web.parsing` chooses by
`Accept` among the media types; `chatsvc.web.sockets` looks up the codec of a frame's subprotocol.
"""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.requests.values import EVENT_STREAM, SUBPROTOCOL, View
from chatsvc.transports.bare import BareCharacters
from chatsvc.transports.codec import Codec
from chatsvc.transports.json_events import JsonEvents
from chatsvc.transports.ndjson import NdjsonEvents
from chatsvc.transports.sse import SseEvents
from chatsvc.transports.text import PlainText

CODECS: dict[str, Callable[[str, View], Codec]] = {
    # Media types: the ones with a slash.
    EVENT_STREAM: SseEvents,
    "text/plain": PlainText,
    "application/x-ndjson": NdjsonEvents,
    # Subprotocols; the empty one is that of clients that ask for none.
    "": BareCharacters,
    SUBPROTOCOL: JsonEvents,
}
"""The factory of each codec; its arguments are the reply's id and the view that is asked for."""


def make_codec(reply_id: str, view: View) -> Codec:
    """Return the codec for a stream of a reply in a view; `view.representation` is in `CODECS`."""
    return CODECS[view.representation](reply_id, view)


STREAM_MEDIA_TYPES = tuple(name for name in CODECS if "/" in name)
"""The media types of the bodies that stream a reply."""
