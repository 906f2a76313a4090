"""The scripts by which a node creates, writes, ends, takes over and releases replies: their arguments.

The node writes in the epoch in which it became a reply's owner; the scripts check it. What they return
stands in the head of each, in `scripts/*.lua`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from chatsvc.client_limits import StartLimits
from chatsvc.model import End
from chatsvc.stores.base import REMEMBERED_S, Record
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.entries import encode_end
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.leases import NOBODY
from chatsvc.stores.redis.limits import digest_of, refusal
from chatsvc.stores.redis.records import (
    encode_context,
    encode_ended_record,
    encode_record,
)
from chatsvc.stores.redis.scripts import CREATE, FINISH, RELEASE, TAKE_OVER, WRITE
from chatsvc.stores.redis.writes import (
    Answer,
    Counts,
    Write,
    decode_answers,
    encode_writes,
)

DETACHED_PATIENCE_S = 24 * 3600
"""Seconds for which a command about an ended reply is tried that no caller waits for."""


class OwnerScripts:
    """The scripts that `node` runs as an owner of replies, or to become one.

    `keep` is how many seconds an ended reply is kept, `patience` how many seconds Redis may be away
    while a write waits. Every call raises `StoreUnavailable`.
    """

    def __init__(
        self, commands: Commands, keys: Keys, node: str, keep: float, patience: float
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._node = node
        self._keep_ms = max(1, round(keep * 1000))
        self._patience = patience

    async def create(
        self, record: Record, now_us: int, limits: StartLimits, elsewhere: int
    ) -> bool:
        """Create a reply, and return True; or return False if there is one with its id.

        `now_us` is by the store's clock, `elsewhere` how many replies run under other hash tags.
        Raises `Overloaded` and `TooManyRequests` at a limit.
        """
        reply_id = record.reply_id
        tag = self._keys.tag(reply_id)
        account = digest_of(limits.account)
        keys = [
            self._keys.reply(reply_id),
            self._keys.gone(reply_id),
            tag.owned,
            tag.leases,
            tag.running_of(account),
            tag.starts(account),
        ]
        status, *more = await self._commands.run(
            CREATE,
            keys,
            *(encode_record(record), self._node, reply_id, now_us),
            encode_context(record),
            record.note,
            *(account, limits.running, limits.starts, limits.in_all, elsewhere),
            encode_ended_record(record),
        )
        if status in ("ok", "known"):
            return bool(status == "ok")
        raise refusal(limits, status, *map(int, more))

    async def write(self, writes: Sequence[Write]) -> list[Answer]:
        """Write to some replies of one hash tag together, and return what is answered for each."""
        keys: list[str] = []
        if self._keys.cluster:  # elsewhere they would only be half of what is sent
            for write in writes:
                reply_id = write.reply_id
                keys += (self._keys.reply(reply_id), self._keys.stream(reply_id))
        answer: str = await self._commands.run(
            WRITE,
            keys,
            self._keys.tag(writes[0].reply_id).prefix,
            self._node,
            encode_writes(writes),
            patience=self._patience,
            at_once=True,
        )
        return decode_answers(answer)

    async def finish(
        self,
        reply_id: str,
        epoch: int | None,
        written: Counts,
        end: End,
        patience: float,
    ) -> list[str]:
        """Set an end, in any epoch if that is None; return the status and what follows it.

        An end without usage gets what was written last.
        """
        tag = self._keys.tag(reply_id)
        keys = [
            self._keys.reply(reply_id),
            self._keys.stream(reply_id),
            self._keys.gone(reply_id),
            self._keys.readers(reply_id),
            tag.news,
            tag.owned,
            tag.running,
        ]
        answer: list[str] = await self._commands.run(
            FINISH,
            keys,
            self._node,
            "" if epoch is None else epoch,
            *written,
            *encode_end(end),
            self._keep_ms,
            self._keep_ms + REMEMBERED_S * 1000,
            reply_id,
            "1" if end.state == "stopped" else "",
            patience=patience,
        )
        return answer

    async def take_over(
        self, reply_id: str
    ) -> tuple[int, Counts, str] | Literal["ended"] | None:
        """Return the epoch in which the node owns a reply now, what is there, and its account.

        The account is its digest (`digest_of`). Returns None if the node may not own the reply, and
        "ended" if that is because of an end that was in the set of an owner until this call.
        """
        tag = self._keys.tag(reply_id)
        keys = [*self._ownership_keys(reply_id), tag.running]
        taken: Any = await self._commands.run(TAKE_OVER, keys, self._node, reply_id)
        if taken is None:
            return None
        if not taken:
            return "ended"
        epoch, position, sides, account = taken
        return int(epoch), (int(position), int(sides)), str(account)

    async def retire(self, reply_id: str, account: str) -> bool:
        """Take an ended reply from the node's own set, and from that of its account.

        Returns whether it was in the node's own.
        """
        tag = self._keys.tag(reply_id)
        names = [tag.owned_by(self._node)]
        if account:
            names.append(tag.running_of(account))
        ask, patience = self._commands.ask, DETACHED_PATIENCE_S
        removed, *_ = await asyncio.gather(
            *(ask("SREM", name, reply_id, patience=patience) for name in names)
        )
        return bool(removed)

    async def release(self, reply_id: str, epoch: int) -> bool:
        """Give a reply to nobody, and return whether that was done."""
        keys = self._ownership_keys(reply_id)
        status = await self._commands.run(
            RELEASE, keys, self._node, epoch, reply_id, NOBODY
        )
        return bool(status == "ok")

    def _ownership_keys(self, reply_id: str) -> list[str]:
        """Return the KEYS of `release.lua`, and the first of `take_over.lua`."""
        tag = self._keys.tag(reply_id)
        return [self._keys.reply(reply_id), tag.leases, tag.owned, tag.news]
