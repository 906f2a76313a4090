"""The codec of newline-delimited JSON: `application/x-ndjson` (PROTOCOL.md section 2)."""

from __future__ import annotations

from typing import Any

from chatsvc.transports.json_events import JsonEvents
from chatsvc.transports.json_line import json_line


class NdjsonEvents(JsonEvents):
    r"""The codec of the events of `chatsvc.v1` as lines: `{"id":"<reply>:1","data":"你"}\n`.

    There are no comments and no empty lines, because parsers may refuse a line that is no JSON
    value. So nothing is sent in silence; a reader whose connection a proxy cuts then resumes.
    """

    __slots__ = ()
    transport = "ndjson"
    media_type = "application/x-ndjson"
    charset = None  # JSON is UTF-8, and its types have no such parameter (RFC 8259 section 11)

    @staticmethod
    def data_member(data: str) -> bytes:
        """See `JsonEvents.data_member`."""
        return b'","data":%b}\n' % json_line(data)

    @staticmethod
    def named_event(members: dict[str, Any]) -> bytes:
        """See `JsonEvents.named_event`."""
        return json_line(members) + b"\n"
