"""Which reply an idempotency key or a name stands for, in Redis."""

from __future__ import annotations

import hashlib

from chatsvc.stores.base import KeyReused, Record
from chatsvc.stores.memory import REMEMBERED
from chatsvc.stores.redis import scripts
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import Keys


class Idempotency:
    """Each is kept for `REMEMBERED` seconds under its hash: what clients choose is of any length."""

    def __init__(self, writer: Commands, keys: Keys) -> None:
        self._writer = writer
        self._keys = keys

    async def claim(self, record: Record) -> str:
        """The reply id that stands for an idempotency key, the record's own if none did. Raises `KeyReused`."""
        mine = f"{record.reply_id} {record.digest}"
        # Redis 6.2 can't do both in one command; the key is not let go of for a day, so there is no race between.
        if await self._writer.ask(
            "SET", self._key(record), mine, "NX", "EX", REMEMBERED
        ):
            return record.reply_id
        return await self.known(record) or record.reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`."""
        known = await self._writer.ask("GET", self._key(record))
        if known is None:
            return None
        reply_id, _, digest = str(known).partition(" ")
        if digest != record.digest:
            raise KeyReused
        return reply_id

    async def remember(self, name: str, reply_id: str) -> str | None:
        """See `Store.remember`."""
        known = await self._writer.run(
            scripts.REMEMBER, [self._name(name)], reply_id, REMEMBERED
        )
        return None if known is None else str(known)

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        known = await self._writer.ask("GET", self._name(name))
        return None if known is None else str(known)

    def _key(self, record: Record) -> str:
        digest = hashlib.sha256(f"{record.user}\0{record.key}".encode()).hexdigest()
        return f"{self._keys.prefix(digest)}key:{digest}"

    def _name(self, name: str) -> str:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._keys.prefix(digest)}name:{digest}"
