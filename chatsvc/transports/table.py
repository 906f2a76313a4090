"""The table of streams: from a media type or a WebSocket subprotocol to the codec that speaks it.

A new kind of stream is one module with a codec, and one line here. `chatsvc.web.parsing` chooses by
`Accept` among the media types; `chatsvc.web.sockets` looks up the codec of a frame's subprotocol.
"""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.requests.values import (
    EVENT_STREAM,
    PARTS_SUBPROTOCOL,
    SUBPROTOCOL,
    View,
)
from chatsvc.transports.bare import BareCharacters
from chatsvc.transports.codec import Codec, PartsCodec, StreamCodec
from chatsvc.transports.json_events import JsonEvents
from chatsvc.transports.ndjson import NdjsonEvents
from chatsvc.transports.part_events import PartEvents
from chatsvc.transports.part_frames import PartFrames
from chatsvc.transports.part_lines import PartLines
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
"""The factory of each codec of the text; its arguments are the reply's id and the view asked for."""

PARTS_CODECS: dict[str, Callable[[str, View], PartsCodec]] = {
    EVENT_STREAM: PartEvents,
    "application/x-ndjson": PartLines,
    PARTS_SUBPROTOCOL: PartFrames,
}
"""The factory of each codec of all parts, by what it is for; its arguments are those of `CODECS`."""


def make_codec(reply_id: str, view: View) -> StreamCodec:
    """Return the codec for a stream of a reply in a view.

    `view.representation` is in `CODECS`; or in `PARTS_CODECS`, if the view is of all parts.
    """
    makers = PARTS_CODECS if view.parts else CODECS
    return makers[view.representation](reply_id, view)


STREAM_MEDIA_TYPES = tuple(name for name in CODECS if "/" in name)
"""The media types of the bodies that stream a reply."""

PARTS_MEDIA_TYPES = tuple(name for name in PARTS_CODECS if "/" in name)
"""The media types of the bodies that stream all parts of a reply."""
