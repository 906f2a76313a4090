"""The rendered blocks of replies, each rendered once for all who read it so on this node.

    BlockStream ── out, ended ──► RenderedReply ── a piece of the text ──► Renderer
         ▲                              │
         └────────── news ──────────────┘

Invariants:
- A reply that nobody reads with its blocks costs nothing. One that somebody does is rendered by one task,
  at most every `INTERVAL_S`, and takes at most a `SHARE`-th of the time of a processor.
- All of them have at most `MAX_SIZE` characters of HTML, and plain text for the rest.
- A reply is rendered when there is text that readers can't draw by themselves, and less often where the events
  would be twice the text.
- A reader keeps a number and its last block; the blocks themselves are kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from chatsvc.problems import Draining, Overloaded
from chatsvc.rendering.block_messages import Answered, Asked, plain_blocks
from chatsvc.rendering.growing_blocks import GrowingBlocks
from chatsvc.rendering.renderer import Renderer
from chatsvc.rendering.safe_characters import safe_length
from chatsvc.replies import Reply
from chatsvc.transports.block_json import common_length

INTERVAL_S = 0.1
"""Seconds from the beginning of one rendering of a reply to that of the next, at least."""

SLOWEST_S = 0.5
"""The same, where the events are more bytes than the text by far."""

FREE_BYTES = 8 * 1024
"""Bytes of events that a reply may have beside one for each byte of its text, until it is rendered less
often: an event is twice as long as a line of text."""

EVENT_BYTES = 90
"""Bytes of a block's event beside its HTML."""

SHARE = 10
"""How many times as long as a rendering took (seconds of CPU) it is to the next one."""

RETRY_S = 1.0
"""Seconds to the next attempt when too many replies are being rendered."""

LAST_ATTEMPTS = 5
"""Attempts for a text that has ended, until what is not rendered is shown as plain text."""

MAX_SIZE = 64 * 1024 * 1024
"""Characters of HTML that all rendered replies of a node may have at a time. Beyond that, what comes is
plain text, which is as long as the text itself."""

_LOOK_BEHIND = 3
"""Characters before a place that decide whether those behind it are safe."""

logger = logging.getLogger("chatsvc.rendering")


class BlockReader(Protocol):
    """A reader of blocks: `changed` is called when they are others from the index `first` on."""

    def changed(self, first: int) -> None:
        """Note that the blocks from an index on have changed."""


class RenderedReply:
    """The blocks of one reply, in `text`.

    `client` is in whose turn the reply is rendered. `has_room` returns whether there may be more HTML.
    """

    def __init__(
        self,
        reply: Reply,
        renderer: Renderer,
        client: str,
        has_room: Callable[[], bool],
    ) -> None:
        self.text = GrowingBlocks()
        self._has_room = has_room
        self.readers: set[BlockReader] = set()
        self._reply = reply
        self._renderer = renderer
        self._client = client
        self._out = 0  # position up to which some reader has the text
        self._ended = False
        self._next_s = 0.0
        self._event_bytes = 0  # what a reader of all has been sent
        self._safe = 0  # position up to which readers can draw by themselves, at least
        self._attempts = LAST_ATTEMPTS
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        if not renderer.pids():
            # A child needs a third of a second to start: longer than the first words need to come.
            self._begin()

    def advance(self, position: int) -> None:
        """Note that a reader has the text up to `position` (code points); render if that is due."""
        log = self._reply.log
        ended = log.end is not None and position >= log.position
        if position <= self._out and ended == self._ended:
            return
        self._out = max(position, self._out)
        self._ended = self._ended or ended
        self._plan()

    def close(self) -> None:
        """Render nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _plan(self) -> None:
        """Set the time of the next rendering if there is anything to render."""
        if self._task is not None or self.text.settled:
            return
        if self._timer is not None:
            if not self._ended:
                return
            self._timer.cancel()
            self._timer = None
        if not self._ended and not self._has_news():
            return
        due = self._next_s
        if self._ended and self._attempts == LAST_ATTEMPTS:
            due = 0
        delay = max(0.0, due - self._loop.time())
        self._timer = self._loop.call_later(delay, self._begin)

    def _has_news(self) -> bool:
        """Return whether there is text that readers can't draw by themselves."""
        if self._out <= self.text.rendered:
            return False
        last = self.text.blocks[-1] if self.text.blocks else None
        if last is None or last.close is None:
            return not self._reply.log.text(self.text.rendered, self._out).isspace()
        begin = max(last.end, self._safe)
        before = max(0, begin - _LOOK_BEHIND)
        text = self._reply.log.text(before, self._out)
        in_code = last.close.startswith("</code>")
        safe = begin - before + safe_length(text, begin - before, in_code)
        self._safe = before + safe
        return safe < len(text.rstrip())

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._render())

    async def _render(self) -> None:
        ended, out, log = self._ended, self._out, self._reply.log
        asked = self.text.ask(log.text, out, whole=ended)
        started, wait = self._loop.time(), float(RETRY_S)
        try:
            if self._has_room():
                found = await self._renderer.render_blocks(asked, self._client)
            else:
                found = plain_blocks(asked)
            self._take(asked, found)
            behind = self.text.rendered < out
            wait = 0 if behind else max(self._interval(out), SHARE * found.seconds)
        except Exception as error:
            if not isinstance(error, Overloaded | Draining):
                logger.error("the blocks of a reply failed", exc_info=error)
            self._attempts -= ended
            if ended and (self._attempts <= 0 or not isinstance(error, Overloaded)):
                self._take(asked, plain_blocks(asked))
        finally:
            self._task = None
        self._next_s = started + wait
        self._plan()

    def _take(self, asked: Asked, found: Answered) -> None:
        """Take what was rendered, and tell the readers what has changed."""
        blocks = self.text.blocks
        before, last = len(blocks), blocks[-1] if blocks else None
        changed = self.text.take(asked, found)
        if changed is None or not (asked.whole or changed < max(before, len(blocks))):
            return
        self._safe = 0
        for block in blocks[changed:]:
            self._event_bytes += EVENT_BYTES + len(block.html)
            if last is not None and last.start == block.start:
                self._event_bytes -= common_length(last.html, block.html)
        for reader in self.readers:
            reader.changed(changed)

    def _interval(self, out: int) -> float:
        """Return the seconds between two renderings, by the bytes of events for `out` characters."""
        allowed = FREE_BYTES + out
        over = min(1.0, max(0.0, self._event_bytes / allowed - 1))
        return INTERVAL_S + (SLOWEST_S - INTERVAL_S) * over


class RenderedReplies:
    """The rendered replies of a node: each for as long as somebody reads it so."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._replies: dict[str, RenderedReply] = {}

    def join(self, reply: Reply, client: str, reader: BlockReader) -> RenderedReply:
        """Return a reply's blocks for a reader, who leaves them by `leave`."""
        rendered = self._replies.get(reply.id)
        if rendered is None:
            rendered = RenderedReply(reply, self._renderer, client, self._has_room)
            self._replies[reply.id] = rendered
        rendered.readers.add(reader)
        return rendered

    def leave(self, reply: Reply, reader: BlockReader) -> None:
        """Let go of a reply's blocks."""
        rendered = self._replies.get(reply.id)
        if rendered is None:
            return
        rendered.readers.discard(reader)
        if not rendered.readers:
            rendered.close()
            del self._replies[reply.id]

    def _has_room(self) -> bool:
        return sum(one.text.size for one in self._replies.values()) < MAX_SIZE
