"""The live logs of this node: how a reply is found, and how it ends here when Redis loses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

from msgspec.structs import replace

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import InternalError, ReplyExpired, ReplyNotFound
from chatsvc.stores.base import EXPIRED, Record
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.entries import (
    HASH_FIELDS,
    ReplyEntry,
    apply,
    decode_hash,
)
from chatsvc.stores.redis.followers import Followers
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.pages import Page, Pages, in_turns
from chatsvc.stores.redis.records import LATER_FIELDS, with_later_fields


class Logs:
    """The logs of running replies that something on this node holds: one for each reply.

    `on_lost` is called with the id of a reply that is not in Redis.
    """

    def __init__(
        self,
        commands: Commands,
        keys: Keys,
        followers: Followers,
        on_lost: Callable[[str], None],
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._followers = followers
        self._on_lost = on_lost
        self._logs: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._finding: dict[str, asyncio.Task[tuple[Record, Log]]] = {}

    def add(self, log: Log) -> None:
        """Add the log of a reply that this node has created."""
        self._logs[log.reply_id] = log

    def remove(self, log: Log) -> None:
        """Remove a log: the next `find` reads the reply from Redis again."""
        self._logs.pop(log.reply_id, None)

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """See `Store.find`. Redis is asked once for all calls at the same time.

        When a node goes, all readers of a reply that it produced may come at once.
        """
        finding = self._finding.get(reply_id)
        if finding is None:
            finding = asyncio.create_task(self._find(reply_id))
            self._finding[reply_id] = finding
            finding.add_done_callback(lambda task: self._found(reply_id, task))
        try:
            return await asyncio.shield(finding)
        finally:
            # As in `Commands.ask`: an error would keep this frame, and the frame the error.
            del finding

    def lose(self, reply_id: str) -> None:
        """End a reply that Redis has lost, if it is read here, as failed."""
        log = self._logs.get(reply_id)
        if log is not None and log.end is None:
            _fail(log)

    def close(self) -> None:
        """Stop all searches."""
        for task in self._finding.values():
            task.cancel()

    def _found(self, reply_id: str, task: asyncio.Task[tuple[Record, Log]]) -> None:
        del self._finding[reply_id]
        if not task.cancelled():
            # Marks the error as seen, or asyncio would log it if all callers have left.
            task.exception()

    async def _find(self, reply_id: str) -> tuple[Record, Log]:
        pages = Pages(lambda begin, count: self._read(reply_id, begin, count))
        values, gone, page = await asyncio.gather(
            self._commands.ask(
                "HMGET", self._keys.reply(reply_id), *HASH_FIELDS, *LATER_FIELDS
            ),
            self._commands.ask("EXISTS", self._keys.gone(reply_id)),
            pages.next(),
        )
        found = decode_hash(values[: len(HASH_FIELDS)])
        if found is None:
            self._on_lost(reply_id)
            if not gone:
                raise ReplyNotFound("No reply has this id.")
        if found is None or (found.ended and not page):
            raise ReplyExpired(EXPIRED)
        record = with_later_fields(found.record, values[len(HASH_FIELDS) :])
        log = self._logs.get(reply_id)
        if log is None:
            log = record.new_log()
            last_id = "0-0"
            while page:
                await in_turns(page, partial(_take, log))
                last_id = page[-1][0]
                page = await pages.next()
            if log.end is None and (
                log.position < found.position or log.offset - log.position < found.sides
            ):
                if await self._has_expired(reply_id):
                    raise ReplyExpired(EXPIRED)  # while its pages were read
                _fail(log)  # Redis has the hash, and has lost what it counts
            if log.end is None:
                self._logs[reply_id] = log
                self._followers.of(reply_id).add(log, last_id)
        elif log.prompt is not None:  # the one that the log's end drops
            record = replace(record, prompt=log.prompt)
        if log.end is None:
            await self._followers.refresh(log)
        return record, log

    async def _has_expired(self, reply_id: str) -> bool:
        there, gone = await asyncio.gather(
            self._commands.ask("EXISTS", self._keys.reply(reply_id)),
            self._commands.ask("EXISTS", self._keys.gone(reply_id)),
        )
        return bool(gone and not there)

    async def _read(self, reply_id: str, begin: str, count: int) -> Page:
        stream = self._keys.stream(reply_id)
        page: Page = await self._commands.ask(
            "XRANGE", stream, begin, "+", "COUNT", count
        )
        return page


def _take(log: Log, entry_id: str, entry: ReplyEntry) -> bool:
    """Bring an entry into a log if it fits: whether all is there is known at the end."""
    apply(log, entry_id, entry)
    return True


def _fail(log: Log) -> None:
    problem = InternalError("The store has lost the reply.")
    log.finish(End("failed", "interrupted", problem.as_dict()), 0)
