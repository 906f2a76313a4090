"""The rendered blocks of replies, each rendered once for all who read it so on this node.

    BlockStream ── out, ended ──► RenderedReply ── a piece of the text ──► Renderer
         ▲                              │
         └────────── news ──────────────┘

Invariants:
- A reply that nobody reads with its blocks costs nothing. One that somebody does is rendered by one task,
  at most every `INTERVAL_S`, and takes at most a `SHARE`-th of the time of a processor.
- Only what stands behind the finished blocks is rendered again. Where definitions come late, the whole
  text is rendered once more at its end.
- A reader keeps a number and its last block; the blocks themselves are kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from chatsvc.problems import Draining, Overloaded
from chatsvc.rendering.block_messages import Answered, Asked, Block, Past, plain_blocks
from chatsvc.rendering.renderer import Renderer
from chatsvc.rendering.safe_characters import safe_length
from chatsvc.replies import Reply

INTERVAL_S = 0.1
"""Seconds from the beginning of one rendering of a reply to that of the next, at least."""

SHARE = 10
"""How many times as long as a rendering took (seconds of CPU) it is to the next one."""

RETRY_S = 1.0
"""Seconds to the next attempt when too many replies are being rendered."""

LAST_ATTEMPTS = 5
"""Attempts for a text that has ended, until what is not rendered is shown as plain text."""

_LOOK_BEHIND = 3
"""Characters before a place that decide whether those behind it are safe."""

logger = logging.getLogger("chatsvc.rendering")


class BlockReader(Protocol):
    """A reader of blocks: `changed` is called when they are others from the index `first` on."""

    def changed(self, first: int) -> None:
        """Note that the blocks from an index on have changed."""


class RenderedReply:
    """The blocks of one reply: of the text that is out so far, in order.

    `settled` is whether they are those of the whole text, and final. `defines` is whether the text
    defines links or footnotes. `client` is in whose turn the reply is rendered.
    """

    def __init__(self, reply: Reply, renderer: Renderer, client: str) -> None:
        self.blocks: list[Block] = []
        self.settled = False
        self.defines = False
        self.readers: set[BlockReader] = set()
        self._reply = reply
        self._renderer = renderer
        self._client = client
        self._out = 0  # position up to which some reader has the text
        self._ended = False
        self._rendered = -1  # position up to which the text was given to the renderer
        self._stable = 0  # blocks that are finished
        self._base = 0  # where the text behind them begins
        self._past = Past()
        self._next_s = 0.0
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
        if self._task is not None or self.settled:
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
        if self._out <= self._rendered:
            return False
        last = self.blocks[-1] if self.blocks else None
        begin = last.end if last is not None else 0
        before = max(0, begin - _LOOK_BEHIND)
        text = self._reply.log.text(before, self._out)
        if last is None or last.close is None:
            return not text[begin - before :].isspace()
        in_code = last.close.startswith("</code>")
        start = begin - before
        return start + safe_length(text, start, in_code) < len(text.rstrip())

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._render())

    async def _render(self) -> None:
        ended, out = self._ended, self._out
        if ended and self.defines:
            self._forget()
        text = self._reply.log.text(self._base, out)
        asked = Asked(text, ended, self._past)
        started = self._loop.time()
        try:
            found = await self._renderer.render_blocks(asked, self._client)
        except (Overloaded, Draining) as problem:
            self._attempts -= ended
            wait = RETRY_S
            if ended and (isinstance(problem, Draining) or self._attempts <= 0):
                self._take(plain_blocks(asked), out, ended)
        else:
            wait = max(INTERVAL_S, SHARE * found.seconds)
            whole = self._base == 0
            self.defines = self.defines or found.defines
            if ended and found.defines and not whole:
                out = self._rendered  # once more, from the beginning
            else:
                self._take(found, out, ended)
        finally:
            self._task = None
        self._next_s = started + wait
        self._plan()

    def _forget(self) -> None:
        """Have the next rendering be one of the whole text."""
        self._base = self._stable = 0
        self._past = Past()

    def _take(self, found: Answered, out: int, ended: bool) -> None:
        """Take what was rendered in place of what stood there, and tell the readers."""
        base, stable = self._base, self._stable
        fresh = [
            Block(base + block.start, base + block.end, block.html, block.close)
            for block in found.blocks
        ]
        old = self.blocks[stable:]
        same = _same(old, fresh)
        gone = old[same : same + 1]
        if gone and (same == len(fresh) or fresh[same].start > gone[0].start):
            # Readers keep a block until another begins where it does.
            fresh.insert(same, Block(gone[0].start, gone[0].start, ""))
        self.blocks[stable:] = fresh
        self._rendered = out
        self._stable = max(stable, len(self.blocks) - 1)
        self._base, self._past = base + found.stable, found.past
        self.settled = ended
        if same < len(fresh) or ended:
            for reader in self.readers:
                reader.changed(stable + same)


def _same(old: Sequence[Block], fresh: Sequence[Block]) -> int:
    """Return how many blocks are the same at the beginning of both."""
    pairs = zip(old, fresh, strict=False)
    for number, (a, b) in enumerate(pairs):
        if a.start != b.start or a.html != b.html or a.close != b.close:
            return number
    return min(len(old), len(fresh))


class RenderedReplies:
    """The rendered replies of a node: each for as long as somebody reads it so."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._replies: dict[str, RenderedReply] = {}

    def join(self, reply: Reply, client: str, reader: BlockReader) -> RenderedReply:
        """Return a reply's blocks for a reader, who leaves them by `leave`."""
        rendered = self._replies.get(reply.id)
        if rendered is None:
            rendered = RenderedReply(reply, self._renderer, client)
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
