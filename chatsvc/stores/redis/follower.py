"""What arrives in Redis, brought to the logs of this node: one connection that waits for all of them together.

Rules
- Only a log's own stream is believed. What this node writes itself it knows from Redis' answer (`owner`); all else comes
  through here: what is seen is in Redis.
- A stream is read by itself while others may write text to it. Once its text is complete, or while this node writes it,
  only little can still come from elsewhere: an end, or another owner. That is told by the `news`, one stream for all
  replies of a hash tag; then the reply's own is read again. So a round costs as many streams as are being written
  elsewhere, not as many as there are readers.
- News are numbered. Where some are missing (there are only so many of them), every stream is read again; and now and
  then without any, for one may have come by another master's clock, behind the last.
- A log is followed for as long as somebody holds it, and until it has its end.
- A stop in Redis at time T ends a reply where it is out at T + `LEEWAY`. A round that was sent at V and brought no stop
  allows this node to give out what is due by V + `LEEWAY`. So no reader on any node has been given what a stop cuts
  off, however late the node learns of it; and while Redis is away, streams pause.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from weakref import ReferenceType, ref

import msgspec

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import FAILURES, Client
from chatsvc.ticker import Clock, monotonic

logger = logging.getLogger("chatsvc.redis")

LEEWAY = 400_000
"""Microseconds that a node may run ahead of its last look at Redis, and that a stopped reply runs on."""

SLACK = 5_000
"""Microseconds by which the clock may have drifted since it was last compared."""

ROUND = 100
"""Milliseconds that a round waits for something new: so often `LEEWAY` is moved on when nothing happens."""

AGAIN = 0.1
"""Seconds between two tries when Redis is away."""

Fields = dict[str, str]


class FollowerListener(Protocol):
    """Who is told of what comes."""

    def seen(self, tag: int, until: int) -> None:
        """A round has been answered: all is known up to this time (microseconds of the store's clock)."""

    def writes(self, reply_id: str) -> bool:
        """Whether this node writes the reply."""
        ...

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """Another node may own the reply, from this epoch on."""

    def lost(self, reply_id: str) -> None:
        """Redis has not what this node has been given."""

    def disturbed(self) -> None:
        """Redis could not be read."""

    def given_up(self, log: Log) -> None:
        """Redis is away for too long: this is one of the logs that are followed."""


class _Followed:
    __slots__ = ("alone", "asked", "last", "log")

    def __init__(self, log: Log, last: str) -> None:
        self.log: ReferenceType[Log] = ref(log)
        self.last = last
        self.alone = True  # its stream is read by itself
        self.asked = False  # or only in the next round


def arrival(entry: str) -> int:
    """When an entry arrived (microseconds of the store's clock): its id begins with the milliseconds."""
    return int(entry.partition("-")[0]) * 1000


def apply(log: Log, entry: str, fields: Fields) -> bool:
    """Bring one entry of the stream into the log, or what of it is new; False if it does not fit."""
    if log.end is not None:
        return True
    at = arrival(entry)
    if "t" in fields:
        begin, text = int(fields["p"]), fields["t"]
        known = log.position - begin
        # A master that was taken over from may have lost what its replica is then given again.
        if known < 0 or not text.startswith(log.text(begin, begin + len(text))):
            return False
        log.append(text[known:], at)
    if "c" in fields:
        log.seal(msgspec.json.decode(fields["c"], type=End))
    if "e" in fields:
        if log.position < int(fields["p"]):
            return False
        end = msgspec.json.decode(fields["e"], type=End)
        log.finish(end, at + LEEWAY if end.state == "stopped" else at)
    return True


class Follower:
    """Follows the streams of hash tag number `tag`, whose keys begin with `prefix`, for `node`.

    Without Redis for `patience` microseconds, what is followed is given up.
    """

    def __init__(
        self,
        client: Client,
        tag: int,
        prefix: str,
        node: str,
        clock: Clock,
        patience: int,
        told: FollowerListener,
    ) -> None:
        self._client = client
        self._tag = tag
        self._prefix = prefix
        self.bell = f"{prefix}bell:{node}"
        self._news = f"{prefix}news"
        self._clock = clock
        self._patience = patience
        self._told = told
        self._followed: dict[str, _Followed] = {}  # by reply id
        self._waiting: list[asyncio.Future[None]] = []
        self._last_bell = "0-0"
        self._last_news = ""
        self._number = 0  # of the last news
        self._since = monotonic()
        self._rung = False  # the bell is about to be
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin, and look once. Raises `StoreUnavailable`."""
        looked = self._round_after_now()
        self._task = asyncio.create_task(self._run())
        await self._answered(looked)

    async def close(self) -> None:
        """End."""
        # A timeout inside the client that fires at the same moment swallows a cancellation: ask until it is heard.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    @property
    def away(self) -> int:
        """Microseconds since the last round began that was answered."""
        return monotonic() - self._since

    def add(self, log: Log, last: str) -> None:
        """Follow a log's stream from behind entry `last`."""
        self._followed[log.reply_id] = _Followed(log, last)

    def look(self, reply_id: str) -> None:
        """Read a log's stream in the next round, if it is followed."""
        followed = self._followed.get(reply_id)
        if followed is not None:
            followed.asked = True

    def look_again(self, due: int) -> None:
        """Read all streams in the next round, but those whose text is complete and not yet out at `due`."""
        for followed in self._followed.values():
            log = followed.log()
            if log is not None and (log.planned_end is None or log.due() < due):
                followed.asked = True

    def wrote(self, log: Log, entry: str, fields: Fields) -> None:
        """Take an entry that this node has written."""
        apply(log, entry, fields)
        followed = self._followed.get(log.reply_id)
        if followed is not None:
            followed.last = entry

    async def refresh(self, reply_id: str, writer: Commands) -> None:
        """Return when a round that begins after this moment has been answered. Raises `StoreUnavailable`."""
        self.look(reply_id)
        looked = self._round_after_now()
        if not self._rung:  # one ring is enough for all who ask meanwhile
            self._rung = True
            try:
                await writer.ask("XADD", self.bell, "MAXLEN", 1, "*", "r", "")
            finally:
                self._rung = False
        await self._answered(looked)

    def _round_after_now(self) -> asyncio.Future[None]:
        """Done when a round that begins after this moment has been answered."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    async def _answered(self, looked: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._patience / 2e6):
                await looked
        except TimeoutError:
            raise StoreUnavailable("Redis can't be reached.", retry_after=1) from None

    def logs(self) -> list[Log]:
        """All logs that are followed now."""
        found = [followed.log() for followed in self._followed.values()]
        return [log for log in found if log is not None and log.end is None]

    async def _run(self) -> None:
        while True:
            waiting, self._waiting = self._waiting, []
            try:
                count = await self._round(hurry=bool(waiting))
            except Exception as error:
                # redis-py lets more through than its own errors, when a connection is taken from under a call. This
                # must not end for any: nobody would be told anything any more.
                if not isinstance(error, FAILURES):
                    logger.warning("Redis was not read", exc_info=error)
                self._waiting = waiting + self._waiting
                self._away(error)
                await asyncio.sleep(AGAIN)
                continue
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
            # With many streams a round costs: let some more arrive before the next.
            await asyncio.sleep(min(count * 4e-6, 0.02))

    async def _round(self, *, hurry: bool) -> int:
        """Look once, without waiting for anything new in a `hurry`; gives the number of streams."""
        if not self._last_news:
            await self._begin_news()
        began = monotonic()
        count = await self._read(hurry=hurry)
        if count < 0:  # there were news: what they are about is read at once
            count = await self._read(hurry=True)
        self._since = began
        if count >= 0:
            self._told.seen(self._tag, began + self._clock.offset - SLACK)
        return abs(count)

    async def _begin_news(self) -> None:
        """Find where the news stand; whatever is followed already is being read by itself."""
        found = await self._client.xrevrange(self._news, count=1)
        self._last_news = found[0][0] if found else "0-0"
        self._number = int(found[0][1]["n"]) if found else 0

    async def _read(self, *, hurry: bool) -> int:
        """Read what is new in all streams at once; gives their number, below 0 if there are news about a log."""
        streams = {self.bell: self._last_bell, self._news: self._last_news}
        alone: dict[str, _Followed] = {}
        for reply_id, followed in list(self._followed.items()):
            log = followed.log()
            if log is None or log.end is not None:
                del self._followed[reply_id]
            elif followed.alone or followed.asked:
                followed.asked = False
                stream = f"{self._prefix}{reply_id}:log"
                streams[stream] = followed.last
                alone[stream] = followed
        found = await self._client.xread(streams, block=None if hurry else ROUND)
        news: list[tuple[str, Fields]] = []
        for stream, entries in found or ():
            if stream == self._news:
                news = entries
            elif stream == self.bell:
                self._last_bell = entries[-1][0]
            else:
                await self._arrived(stream, alone[stream], entries)
        for followed in alone.values():
            log = followed.log()
            if log is not None:
                followed.alone = log.planned_end is None and not self._told.writes(
                    log.reply_id
                )
        return -len(streams) if self._heard(news) else len(streams)

    async def _arrived(
        self, stream: str, followed: _Followed, entries: list[tuple[str, Fields]]
    ) -> None:
        log = followed.log()
        if log is None:
            return
        for entry, fields in entries:
            if not apply(log, entry, fields):
                break
            followed.last = entry
        else:
            return
        # Perhaps entries have come behind `last` whose ids are before it, by another master's clock.
        for entry, fields in await self._client.xrange(stream):
            if not apply(log, entry, fields):
                self._told.lost(log.reply_id)
                return
            followed.last = entry

    def _heard(self, news: list[tuple[str, Fields]]) -> bool:
        """Take the news; whether one was about a log that is followed here."""
        about = False
        for entry, fields in news:
            self._last_news = entry
            number = int(fields["n"])
            if number != self._number + 1:
                for followed in self._followed.values():
                    followed.asked = about = True
            self._number = number
            if "o" in fields:
                self._told.owner_changed(fields["r"], int(fields["o"]))
            if (told := self._followed.get(fields["r"])) is not None:
                log = told.log()
                told.asked = log is not None and log.end is None
                about = about or told.asked
        return about

    def _away(self, error: Exception) -> None:
        self._told.disturbed()
        if self.away > self._patience and (logs := self.logs()):
            logger.warning("Redis is away: %s", error)
            for log in logs:
                self._told.given_up(log)
