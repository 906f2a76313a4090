"""What the replies of this node hold in memory, and how room is made: unread ones are stopped.

Invariants:

- A reply is counted while something here reads or produces it, and is counted no more afterwards.
  One that has ended and that the store keeps in this process is counted by the store.
- A prompt counts from the request that starts its reply until the reply ends.
- Nothing here is called for a character. Texts are looked at by `sample`, about once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from chatsvc.memory_budget import Kind, MemoryBudget
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Record, Store
from chatsvc.stores.sizes import log_bytes, prompt_bytes, record_bytes
from chatsvc.ticker import monotonic

SAMPLED_PER_TURN = 200
"""The replies that are looked at in one turn of the event loop: less than a millisecond."""

FRESH_US = 100_000
"""Microseconds for which a reply without a reader is spared.

Whoever has just started it, or goes on from one request to the next, reads it in that time.
"""

READ_ELSEWHERE_US = 1_000_000
"""Microseconds after which a reply that another node reads is looked at again."""


class _Held:
    """What one reply is counted for: the bytes of its prompt, and of all else."""

    __slots__ = ("prompt", "text")

    def __init__(self, prompt: int) -> None:
        self.prompt = prompt
        self.text = 0


class ReplyMemory:
    """The count of what the replies of a node hold, as sources of `budget`.

    `abandon(reply)` stops a reply as `abandoned`, if no node reads it, and returns whether it has
    its end afterwards.
    """

    def __init__(
        self,
        store: Store,
        budget: MemoryBudget,
        abandon: Callable[[Reply], Awaitable[bool]],
    ) -> None:
        self._budget = budget
        self._abandon = abandon
        # A store that other nodes share keeps nothing in this process.
        self._counts_ended = store.cluster.shared
        self._held: dict[Reply, _Held] = {}
        # With the times from which they may be stopped; who has had no reader longest comes first.
        self._unread: dict[Reply, int] = {}
        self._prompts = 0
        self._texts = 0
        self._starting = 0
        # They are asked for each request, and these take no frame.
        budget.add_source(Kind.PROMPTS, partial(getattr, self, "_prompts"))
        budget.add_source(Kind.PROMPTS, partial(getattr, self, "_starting"))
        budget.add_source(Kind.TEXTS, partial(getattr, self, "_texts"))
        budget.add_source(Kind.TEXTS, partial(getattr, store, "kept_bytes"))

    # ------------------------------------------------------------------ counting

    def note(self, reply: Reply) -> None:
        """Count a reply whose readers or producer have come or gone."""
        self._unread.pop(reply, None)
        produced, readers, ended = reply.produced, reply.readers, reply.log.end
        if not (produced or readers):
            held = self._held.pop(reply, None)
            if held is not None:
                self._prompts -= held.prompt
                self._texts -= held.text
            return
        held = self._held.get(reply)
        if held is None:
            held = self._held[reply] = _Held(prompt_bytes(reply.record))
            self._prompts += held.prompt
            self._look_at(reply)
        elif ended is not None and held.prompt:
            self._look_at(reply)
        if produced and not readers and ended is None:  # as `_is_unread`
            self._unread[reply] = monotonic() + FRESH_US

    def _look_at(self, reply: Reply) -> None:
        """Count what a reply holds now, if it is counted at all."""
        held = self._held.get(reply)
        if held is None:
            return
        text, ended = 0, reply.log.end is not None
        if not ended or self._counts_ended:
            text = log_bytes(reply.log) + record_bytes(reply.record)
            if ended:  # the question is left
                text += reply.record.prompt.size
        if ended:
            self._prompts -= held.prompt
            held.prompt = 0
        self._texts += text - held.text
        held.text = text

    async def sample(self) -> None:
        """Look at all replies that are counted, in turns of the event loop."""
        for number, reply in enumerate(list(self._held), 1):
            self._look_at(reply)
            if _is_unread(reply):  # a stop may have been cancelled
                self._unread.setdefault(reply, monotonic() + FRESH_US)
            if not number % SAMPLED_PER_TURN:
                await asyncio.sleep(0)

    # ------------------------------------------------------------------ room

    def lacks(self, needed: int) -> bool:
        """Return whether there is no room for so many bytes."""
        return self._budget.excess(needed) > 0

    async def make_room_for(self, needed: int) -> None:
        """Make room for so many bytes, as `make_room`. Raises `Overloaded` if that isn't enough."""
        await self.make_room(needed)
        self._budget.check(needed)

    def reserve(self, needed: int) -> None:
        """Count so many bytes for a reply that is about to start; fewer than 0 give them back."""
        self._starting += needed

    async def make_room(self, needed: int = 0) -> None:
        """Stop replies that nobody reads, until there is room for `needed` bytes or none is left.

        Those that have had no reader for longest are the first.
        """
        while excess := self._budget.excess(needed):
            stopping = self._take_unread(excess)
            if not stopping:
                return
            await asyncio.gather(*map(self._stop, stopping))

    def _take_unread(self, excess: int) -> list[Reply]:
        """Remove and return as many unread replies as hold `excess` bytes, or all that there are."""
        now = monotonic()
        found: list[Reply] = []
        for reply, spared_until in self._unread.items():
            if excess <= 0:
                break
            if spared_until > now:
                continue
            found.append(reply)
            held = self._held[reply]
            excess -= held.prompt + held.text
        for reply in found:
            del self._unread[reply]
        return found

    async def _stop(self, reply: Reply) -> None:
        if not await self._abandon(reply) and _is_unread(reply):
            self._unread[reply] = monotonic() + READ_ELSEWHERE_US
        self._look_at(reply)


def bytes_of(record: Record) -> int:
    """Return the bytes that a reply needs when it starts."""
    return prompt_bytes(record) + record_bytes(record)


def _is_unread(reply: Reply) -> bool:
    """Return whether a running reply of this node has no reader here."""
    return reply.produced and not reply.readers and reply.end is None
