"""The parts of a reply as JSON, the same for every transport of them (PROTOCOL.md section 4)."""

from __future__ import annotations

from typing import Any

from chatsvc.model import End
from chatsvc.replies import PartItem
from chatsvc.transports.json_line import json_line
from chatsvc.units import Mark, PartText


def part_json(item: PartItem) -> bytes:
    """Return the data of the event of a mark or a text: an object in one line of JSON.

    Its `type` is `part` for a mark that begins a part, `delta` for text, `close` for a mark that ends
    a part. Whatever a part's members are called, they don't hide `type`, `part` and `kind`.
    """
    unit = item.unit
    if isinstance(unit, PartText):
        return text_json(unit.part, unit.text)
    event: dict[str, Any]
    if isinstance(unit, Mark):
        event = {"type": "part", "part": unit.part, "kind": unit.kind}
    else:
        event = {"type": "close", "part": unit.part}
    event = event | unit.members | event
    if item.resumed:
        event["resumed"] = True
    return json_line(event)


def text_json(part: int, text: str) -> bytes:
    """Return the data of the event of a text of a part, as `part_json` does."""
    return b'{"type":"delta","part":%d,"text":%b}' % (part, json_line(text))


def end_json(end: End) -> bytes:
    """Return the data of the event that says how a reply ended: an object in one line of JSON.

    It has `problem` and `usage` only if there are any.
    """
    event: dict[str, Any] = {
        "type": "end",
        "state": end.state,
        "finish_reason": end.finish_reason,
    }
    if end.problem is not None:
        event["problem"] = end.problem
    if end.usage is not None:
        event["usage"] = end.usage
    return json_line(event)
