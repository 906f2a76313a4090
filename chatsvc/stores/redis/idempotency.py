"""Idempotency keys and names in Redis: which reply each of them stands for.

Each is kept for `REMEMBERED_S`, a name as much longer as ended replies are kept, under its SHA-256,
because clients choose texts of any length. The value of a key is `<reply id> <digest of the
request>`, that of a name the reply id, or what else it stands for.
"""

from __future__ import annotations

import hashlib
from math import ceil

from chatsvc.stores.base import REMEMBERED_S, KeyReused, Record
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.scripts import FORGET, REMEMBER


class Idempotency:
    """The part of the store that keeps which reply each idempotency key and name stands for.

    `keep` is how many seconds an ended reply is kept.
    """

    def __init__(self, commands: Commands, keys: Keys, keep: float) -> None:
        self._commands = commands
        self._keys = keys
        self._names_s = REMEMBERED_S + ceil(keep)

    async def claim(self, record: Record) -> str:
        """Let the record's key stand for its reply, unless it stands for one already.

        Returns the id of the reply that the key stands for now. Raises `KeyReused` and
        `StoreUnavailable`.
        """
        value = f"{record.reply_id} {record.digest}"
        # Redis 6.2 has no SET with both NX and GET. Should the key expire between the two commands,
        # a day after its first use, the reply begins as if it had none.
        if await self._commands.ask(
            "SET", self._key(record), value, "NX", "EX", REMEMBERED_S
        ):
            return record.reply_id
        return await self.known(record) or record.reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`. Never raises `ReplyExpired`: `Store.find` does, for the id."""
        value = await self._commands.ask("GET", self._key(record))
        if value is None:
            return None
        reply_id, _, digest = str(value).partition(" ")
        if digest != record.digest:
            raise KeyReused
        return reply_id

    async def remember(self, name: str, value: str, *, only_new: bool) -> str | None:
        """See `Store.remember`."""
        before = await self._commands.run(
            REMEMBER,
            [self._name(name)],
            value,
            self._names_s,
            "1" if only_new else "",
        )
        return None if before is None else str(before)

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        value = await self._commands.ask("GET", self._name(name))
        return None if value is None else str(value)

    async def forget(self, name: str, value: str) -> None:
        """See `Store.forget`."""
        await self._commands.run(FORGET, [self._name(name)], value)

    def _key(self, record: Record) -> str:
        digest = hashlib.sha256(f"{record.user}\0{record.key}".encode()).hexdigest()
        return self._keys.idempotency(digest)

    def _name(self, name: str) -> str:
        return self._keys.name(hashlib.sha256(name.encode()).hexdigest())
