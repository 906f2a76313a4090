"""Idempotency keys and names in Redis: which reply each of them stands for.

Each is kept for `REMEMBERED_S`, under its SHA-256, because clients choose texts of any length. The
value of a key is `<reply id> <digest of the request>`, that of a name the reply id.
"""

from __future__ import annotations

import hashlib

from chatsvc.stores.base import REMEMBERED_S, KeyReused, Record
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.scripts import FORGET, REMEMBER


class Idempotency:
    """The part of the store that keeps which reply each idempotency key and name stands for."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys

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

    async def remember(self, name: str, reply_id: str) -> str | None:
        """See `Store.remember`."""
        before = await self._commands.run(
            REMEMBER, [self._name(name)], reply_id, REMEMBERED_S
        )
        return None if before is None else str(before)

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        reply_id = await self._commands.ask("GET", self._name(name))
        return None if reply_id is None else str(reply_id)

    async def forget(self, name: str, reply_id: str) -> None:
        """See `Store.forget`."""
        await self._commands.run(FORGET, [self._name(name)], reply_id)

    def _key(self, record: Record) -> str:
        digest = hashlib.sha256(f"{record.user}\0{record.key}".encode()).hexdigest()
        return self._keys.idempotency(digest)

    def _name(self, name: str) -> str:
        return self._keys.name(hashlib.sha256(name.encode()).hexdigest())
