"""A rendered block as JSON, the same for every transport of parts (PROTOCOL.md section 4)."""

from __future__ import annotations

from typing import Any

from chatsvc.rendering.block_messages import Block
from chatsvc.rendering.reply_ids import with_reply_ids
from chatsvc.transports.json_line import json_line

SHORTEST_KEPT = 12
"""UTF-16 units of a block's HTML from which on it is said that they are kept: saying it takes as many."""


def block_json(block: Block, last: Block | None, shown_id: str) -> bytes:
    """Return the data of a block's event: an object in one line of JSON.

    `last` is the block that the client was sent last, or None. `shown_id` is what the ids in the HTML
    call the reply.
    """
    event: dict[str, Any] = {"type": "block", "from": block.start, "to": block.end}
    html = with_reply_ids(block.html, shown_id)
    if last is not None and last.start == block.start:
        same = common_length(with_reply_ids(last.html, shown_id), html)
        kept = len(html[:same].encode("utf-16-le", "replace")) // 2
        if kept >= SHORTEST_KEPT:
            event["keep"] = kept
            html = html[same:]
    event["html"] = html
    if block.close is not None:
        event["close"] = block.close
    return json_line(event)


def common_length(a: str, b: str) -> int:
    """Return how many characters (code points) are the same at the beginning of both."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
