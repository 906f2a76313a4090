"""The bell of a node: how it ends its own blocking read of Redis at once."""

from __future__ import annotations

from chatsvc.stores.redis.commands import Commands

BELL_EXPIRY_S = 60
"""Seconds after which the bell of a node that is gone expires."""


class Bell:
    """A stream in Redis that one node adds to, over one connection, and reads over another.

    `key` is the stream's name, and `last_id` the id of the entry up to which it has been read.
    """

    def __init__(self, commands: Commands, key: str) -> None:
        self._commands = commands
        self._ringing = False
        self.key = key
        self.last_id = "0-0"

    async def ring(self) -> None:
        """Add an entry, unless another call is doing so: that one serves both.

        Raises `StoreUnavailable`.
        """
        if not self._ringing:
            self._ringing = True
            try:
                await self._commands.ask("XADD", self.key, "MAXLEN", 1, "*", "r", "")
            finally:
                self._ringing = False

    async def renew(self) -> None:
        """Let the stream live on for `BELL_EXPIRY_S`. Raises `StoreUnavailable`."""
        await self._commands.ask("EXPIRE", self.key, BELL_EXPIRY_S)
