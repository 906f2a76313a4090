"""The writer of a reply's log: whole characters of what a backend yields, up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chatsvc.graphemes import LONGEST_CHARACTER, Splitter
from chatsvc.log import Segment
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store

CODE_POINTS_PER_TURN = 2048
"""The code points that are written in one turn of the event loop, whether in one piece or in many.

They take two milliseconds where most are characters of scripts that join, else far less.
"""


class LogWriter:
    """The way of a backend's text into the log of a reply, through the store.

    It splits pieces into whole characters and appends them until the reply has `max_bytes` of
    UTF-8; `full` is true once the last append had text beyond that. `on_first` is called with the
    reply when its first character is appended.
    """

    __slots__ = (
        "_append_now",
        "_max_bytes",
        "_on_first",
        "_reply",
        "_size",
        "_splitter",
        "_store",
        "_written",
        "full",
    )

    def __init__(
        self,
        reply: Reply,
        store: Store,
        max_bytes: int,
        on_first: Callable[[Reply], None],
    ) -> None:
        self.full = False
        self._max_bytes = max_bytes
        self._reply = reply
        self._store = store
        self._append_now = store.append_now
        self._on_first = on_first
        self._splitter = Splitter()
        # Counted here: text that a shared store has taken may show up in the log only later.
        self._size = reply.log.size
        self._written = 0  # code points, since the last turn of the event loop

    def take(self, piece: str) -> bool:
        """Append a piece at once, as `write` does, and return whether that was possible.

        It is not for a store that waits, a long piece, a reply that is nearly full or has its end;
        then nothing has happened, and `write` does it. Call it only while no `write` is under way.
        """
        append_now = self._append_now
        if (
            append_now is None
            or len(piece) > CODE_POINTS_PER_TURN
            or self._reply.log.end is not None
            or self._size + (len(piece) + LONGEST_CHARACTER) * 4 > self._max_bytes
        ):
            return False
        if text := self._splitter.feed(piece):
            if not self._size:
                self._on_first(self._reply)
            self._size += len(text) if text.isascii() else len(text.encode())
            append_now(self._reply.log, text)
        return True

    def write(self, piece: str) -> Coroutine[Any, Any, None]:
        """Append a piece of any length, but for a last character that may still grow.

        Raises `NotWritable` when the reply has its end or belongs to another node, and
        `StoreUnavailable`.
        """
        self._written += len(piece)
        if self._written <= CODE_POINTS_PER_TURN:
            return self._append(self._splitter.feed(piece))
        return self._write_in_turns(piece)

    def close(self) -> Coroutine[Any, Any, None]:
        """Append the text that was held back, for the text has ended. Raises as `write`."""
        return self._append(self._splitter.close())

    async def _write_in_turns(self, piece: str) -> None:
        for begin in range(0, len(piece), CODE_POINTS_PER_TURN):
            part = piece[begin : begin + CODE_POINTS_PER_TURN]
            await asyncio.sleep(0)
            self._written = len(part)
            await self._append(self._splitter.feed(part))
            if self.full:
                return

    async def _append(self, text: str) -> None:
        fitting = _fitting(text, self._max_bytes - self._size)
        if fitting:
            if not self._size:
                self._on_first(self._reply)
            self._size += len(fitting.encode())
            await self._store.append(self._reply.log, fitting)
        self.full = len(fitting) < len(text)


def _fitting(text: str, room: int) -> str:
    """Return as many whole characters of `text` as have room, in bytes of UTF-8."""
    if len(text) * 4 <= room or len(encoded := text.encode()) <= room:
        return text
    # The code points that have room; the last character that they begin has no room as a whole.
    fitting = len(encoded[: max(room, 0)].decode(errors="ignore"))
    segment = Segment(0, text)
    return text[: segment.offset(segment.index(fitting))]
