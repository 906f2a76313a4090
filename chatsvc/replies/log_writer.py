"""The writer of a reply's log: what a backend yields, as whole characters and parts, up to limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from itertools import groupby
from typing import Any, cast

from chatsvc.graphemes import LONGEST_CHARACTER, Splitter
from chatsvc.model import Finish, Piece, SidePiece, Usage
from chatsvc.problems import BackendFailed
from chatsvc.replies.outcome import usage_of
from chatsvc.replies.part_writer import Output, PartWriter
from chatsvc.replies.reply import Reply
from chatsvc.segment import fitting
from chatsvc.stores.base import Store
from chatsvc.units import Unit

CODE_POINTS_PER_TURN = 2048
"""The code points that are written in one turn of the event loop, whether in one piece or in many.

They take two milliseconds where most are characters of scripts that join, else far less.
"""


class LogWriter:
    """The way of what a backend yields into the log of a reply, through the store.

    It splits text into whole characters, makes parts of the other pieces (see `PartWriter`), and
    appends them until the reply has `max_bytes` of UTF-8 in its text or `max_parts_bytes` in its
    parts; `full` is true once something had no room. `on_first` is called with the reply when its
    first character is appended.
    """

    __slots__ = (
        "_append_now",
        "_has_room",
        "_log",
        "_max_bytes",
        "_max_parts_bytes",
        "_near_max",
        "_on_first",
        "_parts",
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
        max_parts_bytes: int,
        on_first: Callable[[Reply], None],
    ) -> None:
        self.full = False
        self._max_bytes = max_bytes
        # So much text may have with room for one character more that was held back.
        self._near_max = max_bytes - LONGEST_CHARACTER * 4
        self._max_parts_bytes = max_parts_bytes
        self._reply = reply
        self._log = reply.log
        self._store = store
        self._append_now = store.append_now
        # A store in this process has room for whatever has none of the other obstacles.
        self._has_room = store.has_room if store.cluster.shared else None
        self._on_first = on_first
        self._splitter = Splitter()
        self._parts: PartWriter | None = None  # None while there is nothing but text
        # Counted here: text that a shared store has taken may show up in the log only later.
        self._size = reply.log.size
        self._written = 0  # code points, since the last turn of the event loop

    @property
    def has_calls(self) -> bool:
        """Whether a call of a tool has come."""
        return self._parts is not None and self._parts.has_calls

    def take(self, piece: Piece) -> bool:
        """Append a piece at once, as `write` does, and return whether that was possible.

        It is not possible for a store that waits or has no room, a long piece, text that ends
        reasoning, a finish, a piece that fails the reply, and a reply that is nearly full or has its
        end; then nothing has happened, and `write` does it. Usage is noted. Call it only while no
        `write` is under way. It takes nothing once `full` is true, and after `take_no_more`.
        """
        if not isinstance(piece, str):
            return self._take_side(piece)
        append_now, parts, log = self._append_now, self._parts, self._log
        length, size = len(piece), self._size
        if (
            append_now is None
            or log.end is not None
            or length > CODE_POINTS_PER_TURN
            or size + length * 4 > self._near_max
            or (parts is not None and parts.interrupted)
            or (self._has_room is not None and not self._has_room(log))
        ):
            return False
        if text := self._splitter.feed(piece):
            if not size:
                self._on_first(self._reply)
            self._size = size + (len(text) if text.isascii() else len(text.encode()))
            append_now(log, text)
        return True

    def take_no_more(self) -> None:
        """Have `take` return False from now on."""
        self._append_now = None

    def _take_side(self, piece: SidePiece | Usage | Finish) -> bool:
        append_now, append_side_now = self._append_now, self._store.append_side_now
        log = self._log
        if (
            append_now is None
            or append_side_now is None
            or isinstance(piece, Finish)
            or log.end is not None
            or self._size > self._near_max
            or (self._has_room is not None and not self._has_room(log))
        ):
            return False
        if isinstance(piece, Usage):
            self.note_usage(usage_of(piece.usage))
            return True
        parts = self._part_writer()
        try:
            output = parts.feed(piece)
        except BackendFailed:  # nothing was added; `write` raises it again
            return False
        units: list[Unit] = []
        for each in output:
            if isinstance(each, str):  # what was held back of the text, so it is short
                if not self._size:
                    self._on_first(self._reply)
                self._size += len(each.encode())
                append_now(log, each)
            else:
                units.append(each)
        if units:
            append_side_now(log, units)
        if parts.full:
            self.full, self._append_now = True, None
        return True

    def write(self, piece: Piece) -> Coroutine[Any, Any, None]:
        """Append a piece of any length, but for a last character that may still grow.

        Raises `BackendFailed` for a piece that can't be, `NotWritable` when the reply has its end or
        belongs to another node, and `StoreUnavailable`.
        """
        parts = self._parts
        if not isinstance(piece, str):
            return self._append_all(self._part_writer().feed(piece))
        if parts is not None and parts.interrupted:
            return self._write_behind(parts.begin_text(piece), piece)
        self._written += len(piece)
        if self._written <= CODE_POINTS_PER_TURN:
            return self._append(self._splitter.feed(piece))
        return self._write_in_turns(piece)

    def note_usage(self, usage: dict[str, Any] | None) -> None:
        """Note what the reply has used so far, if that is known (see `Store.note_usage`)."""
        if usage:
            self._store.note_usage(self._log, usage)

    def close(self) -> Coroutine[Any, Any, None]:
        """Append what was held back, for the reply ends. Raises as `write`."""
        if self._parts is not None:
            return self._append_all(self._parts.close())
        return self._append(self._splitter.close())

    def _part_writer(self) -> PartWriter:
        if self._parts is None:
            log = self._log
            written = () if log.side is None else log.side.sides(0, log.side.count)
            self._parts = PartWriter(self._splitter, self._max_parts_bytes, written)
        return self._parts

    async def _write_behind(self, before: Output, piece: str) -> None:
        await self._append_all(before)
        if not self.full:
            await self._write_in_turns(piece)

    async def _write_in_turns(self, piece: str) -> None:
        for begin in range(0, len(piece), CODE_POINTS_PER_TURN):
            part = piece[begin : begin + CODE_POINTS_PER_TURN]
            await asyncio.sleep(0)
            self._written = len(part)
            await self._append(self._splitter.feed(part))
            if self.full:
                return

    async def _append_all(self, output: Output) -> None:
        """Append text and side units in their order, until something has no room."""
        for is_text, group in groupby(output, lambda each: isinstance(each, str)):
            if is_text:
                await self._append("".join(cast(Iterable[str], group)))
            else:
                units = cast(tuple[Unit, ...], tuple(group))
                await self._store.append_side(self._log, units)
            if self.full:
                return
        self.full = self._parts is not None and self._parts.full

    async def _append(self, text: str) -> None:
        fitted = fitting(text, self._max_bytes - self._size)
        if fitted:
            if not self._size:
                self._on_first(self._reply)
            self._size += len(fitted.encode())
            await self._store.append(self._log, fitted)
        self.full = len(fitted) < len(text)
