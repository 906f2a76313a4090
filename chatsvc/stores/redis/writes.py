"""The writes of several replies, as one script takes them together, and what it answers for each.

`scripts/write.lua` takes them as MessagePack, in one argument: that costs both sides a fraction of
what an argument for each field would. It answers with text, a line for each reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.model import End
from chatsvc.stores.redis.entries import (
    ReplyEntry,
    encode_planned_end,
    encode_usage,
    encode_words,
)

Counts = tuple[int, int]
"""A position (code points), and the number of side units there."""


class Write(msgspec.Struct, frozen=True):
    """What one reply gets at once, from the node that owns it in the epoch `epoch`.

    The `entries`, of text or side units, follow each other from `before` to `behind`. With the
    last of them, or alone, comes `planned_end` if the text is complete. `usage` is what the reply
    has used so far; None if that is not known, or as it was. `size` is that of the entries, in code
    points and bytes of marks.
    """

    reply_id: str
    epoch: int
    before: Counts
    behind: Counts
    entries: Sequence[ReplyEntry]
    planned_end: End | None = None
    usage: dict[str, Any] | None = None
    size: int = 0

    def written(self) -> Sequence[ReplyEntry]:
        """Return the entries that the stream gets: `planned_end` stands in the last."""
        if self.planned_end is None:
            return self.entries
        *others, last = self.entries or (ReplyEntry(),)
        return [*others, msgspec.structs.replace(last, planned_end=self.planned_end)]


Answer = list[str]
"""What `write.lua` says of one reply: a status, and the words that follow it (see its head)."""


def encode_writes(writes: Sequence[Write]) -> bytes:
    """Return the argument of `write.lua` for some writes: one flat array, which costs Lua least."""
    words: list[str | int] = []
    for write in writes:
        begin = len(words)
        (position, sides), (position_behind, sides_behind) = write.before, write.behind
        words += (
            0,  # how many follow
            write.reply_id,
            str(write.epoch),
            str(position),
            str(position_behind),
            str(sides),
            str(sides_behind),
            encode_planned_end(write.planned_end),
            encode_usage(write.usage),
        )
        for entry in write.entries:
            fields = encode_words(entry)
            words.append(len(fields))
            words += fields
        words[begin] = len(words) - begin - 1
    return msgspec.msgpack.encode(words)


def decode_answers(text: str) -> list[Answer]:
    """Return what `write.lua` has answered for each of the replies."""
    return [line.split(" ") for line in text.split("\n")]
