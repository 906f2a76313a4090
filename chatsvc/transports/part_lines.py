"""The codec of a reply's parts as newline-delimited JSON (PROTOCOL.md section 4)."""

from __future__ import annotations

from chatsvc.transports.ndjson import NdjsonEvents
from chatsvc.transports.part_frames import PartFrames


class PartLines(PartFrames):
    """The codec of the frames of `chatsvc.v2` as lines; there are no comments and no empty lines."""

    __slots__ = ()
    transport = NdjsonEvents.transport
    media_type = NdjsonEvents.media_type
    charset = NdjsonEvents.charset
    line_end = b"\n"
