"""The reader of all streams of one hash tag: it brings what arrives in Redis into this node's logs.

One connection reads all of them together, round after round of XREAD; a round that waits for
something new is ended early by the node's bell (see `bell`).

Invariants:
- A log takes only what is in its stream: an entry of this node's own once Redis has acknowledged it
  (`apply_own`), any other when it is read here.
- A stream is read in every round while another node may write text to it. Once the text is
  complete, or while this node writes it, other nodes can only add an end, or take ownership. Both
  are announced in the news, one stream for all replies of the hash tag; after an announcement the
  reply's own stream is read once. So a round costs as many streams as other nodes are writing, not
  as many as have readers.
- Entries of the news are numbered. When numbers are missing (Redis keeps some 4,000 entries), every
  stream is read once. `audit` has them read now and then in any case: after a failover, an entry
  may be added with an earlier id than the last one, because the new master's clock is behind, and
  XREAD never returns it.
- A log is followed until it has its end, or until nothing on this node holds it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from chatsvc.log import Log
from chatsvc.stores.redis.bell import Bell
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import RETRY_S, Client, unavailable
from chatsvc.stores.redis.entries import (
    ReplyEntry,
    apply,
    decode_news,
)
from chatsvc.stores.redis.followed import Followed
from chatsvc.stores.redis.keys import HashTag, Keys
from chatsvc.stores.redis.pages import PAGE_ENTRIES, Page
from chatsvc.stores.redis.tasks import cancel
from chatsvc.ticker import monotonic

logger = logging.getLogger("chatsvc.redis")

ROUND_MS = 100
"""Milliseconds that a round waits for something new. After each round the time advances up to which
text may be released (see `followers`)."""


class FollowerListener(Protocol):
    """The interface for what a follower learns and can't put into a log itself."""

    def writes(self, reply_id: str) -> bool:
        """Return whether this node writes the reply."""
        ...

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """Take note that a node, perhaps this one, became the reply's owner with this epoch."""

    def lost(self, reply_id: str) -> None:
        """Take note that Redis has lost the reply, or text of it that this node has in its log."""

    def disconnected(self) -> None:
        """Take note that Redis could not be read."""

    def gave_up(self, log: Log) -> None:
        """Take note that Redis is away for too long: `log` gets nothing more for now."""


class _Round(NamedTuple):
    """The result of one XREAD: the number of streams, and whether news were of a followed log."""

    streams: int
    news: bool


class Follower:
    """The reader of the streams of one hash tag, for `node`.

    When Redis has not answered for `patience_us` microseconds, it reports every log as given up;
    its own methods wait for half of that. `on_read` is called with the tag and a time
    (microseconds of the monotonic clock): this node knows all that had arrived in Redis by then.
    """

    def __init__(
        self,
        client: Client,
        commands: Commands,
        keys: Keys,
        tag: HashTag,
        node: str,
        patience_us: int,
        listener: FollowerListener,
        on_read: Callable[[HashTag, int], None],
    ) -> None:
        self._client = client
        self._commands = commands
        self._keys = keys
        self._tag = tag
        self._patience_us = patience_us
        self._listener = listener
        self._on_read = on_read
        self.bell = Bell(commands, tag.bell(node))
        self._followed: dict[str, Followed] = {}  # by reply id
        self._waiting: list[asyncio.Future[None]] = []
        self._last_news = ""  # unknown: to be asked for
        self._news_number = 0
        self._answered_us = monotonic()  # when the last round began that was answered
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to read; the first round is over on return. Raises `StoreUnavailable`."""
        round_over = self._next_round_over()
        self._task = asyncio.create_task(self._run())
        await self._wait(round_over)
        await self.bell.ring()
        await self.bell.renew()

    async def close(self) -> None:
        """Stop reading."""
        await cancel(self._task)

    @property
    def away_us(self) -> int:
        """The microseconds since the last round began that was answered."""
        return monotonic() - self._answered_us

    def logs(self) -> list[Log]:
        """Return all logs that are followed now."""
        found = [followed.log() for followed in self._followed.values()]
        return [log for log in found if log is not None and log.end is None]

    def add(self, log: Log, last_id: str) -> None:
        """Follow a log, from behind the entry `last_id` of its stream ("0-0": from the first)."""
        stream = self._keys.stream(log.reply_id)
        self._followed[log.reply_id] = Followed(log, stream, last_id)

    def apply_own(self, log: Log, entry_id: str, entry: ReplyEntry) -> None:
        """Bring an entry into the log that this node has written."""
        apply(log, entry_id, entry)
        followed = self._followed.get(log.reply_id)
        if followed is not None:
            followed.last_id = entry_id

    def read_once(self, reply_id: str) -> None:
        """Read a reply's stream in the next round, if it is followed."""
        followed = self._followed.get(reply_id)
        if followed is not None:
            followed.next_round = True

    async def refresh(self, reply_id: str) -> None:
        """Read a reply's stream, if it is followed, in a round that begins after this call.

        Returns when that round is over. Raises `StoreUnavailable`.
        """
        self.read_once(reply_id)
        round_over = self._next_round_over()
        await self.bell.ring()
        await self._wait(round_over)

    async def audit(self, released_us: int) -> None:
        """Look for what was not in the news, and for replies that Redis has lost; renew the bell.

        All streams are read in the next round, but for those whose text is complete and not
        released by `released_us` (of the store's clock): their end is not to be expected yet.
        Raises `StoreUnavailable`.
        """
        await self.bell.renew()
        for followed in self._followed.values():
            log = followed.log()
            if log is not None and (log.planned_end is None or log.due() < released_us):
                followed.next_round = True
        ids = [log.reply_id for log in self.logs()]
        keys = list(map(self._keys.reply, ids))
        if not keys or await self._commands.ask("EXISTS", *keys) == len(keys):
            return
        found = await asyncio.gather(
            *(self._commands.ask("EXISTS", key) for key in keys)
        )
        for reply_id, exists in zip(ids, found, strict=True):
            if not exists:
                self._listener.lost(reply_id)

    # ------------------------------------------------------------------ rounds

    def _next_round_over(self) -> asyncio.Future[None]:
        """Return a future that is done when a round is over that begins after this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def _wait(self, round_over: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._patience_us / 2e6):
                await round_over
        except TimeoutError:
            raise unavailable() from None

    async def _run(self) -> None:
        while True:
            waiting, self._waiting = self._waiting, []
            try:
                streams = await self._round(block=not waiting)
            except Exception as error:  # noqa: BLE001  (`report` logs it)
                # When a connection is closed during a call, redis-py raises other errors than its
                # own too. None of them may end this task: no log would get anything any more.
                self._commands.report("Redis was not read", error)
                self._waiting = waiting + self._waiting
                self._commands.note_failure(error)
                self._report_away(error)
                await asyncio.sleep(RETRY_S)
                continue
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            await asyncio.sleep(_pause_s(streams))

    async def _round(self, *, block: bool) -> int:
        """Read what is new; with `block`, wait until something is.

        Returns how many streams were read.
        """
        if not self._last_news:
            await self._find_last_news()
        began_us = monotonic()
        result = await self._read(block=block)
        if result.news:
            # An end or another owner: read the streams that the news are about at once.
            result = await self._read(block=False)
        self._answered_us = began_us
        if not result.news:
            self._on_read(self._tag, began_us)
        return result.streams

    async def _find_last_news(self) -> None:
        """Find the last of the news; the logs that are followed by now are read in every round."""
        found = await self._client.xrevrange(self._tag.news, count=1)
        self._last_news = found[0][0] if found else "0-0"
        self._news_number = decode_news(found[0][1]).number if found else 0

    async def _read(self, *, block: bool) -> _Round:
        """Read what is new in all streams together."""
        streams = {self.bell.key: self.bell.last_id, self._tag.news: self._last_news}
        reading: dict[str, Followed] = {}
        for reply_id, followed in list(self._followed.items()):
            log = followed.log()
            if log is None or log.end is not None:
                del self._followed[reply_id]
            elif followed.every_round or followed.next_round:
                streams[followed.stream] = followed.last_id
                reading[followed.stream] = followed
        once = [followed for followed in reading.values() if followed.next_round]
        for followed in once:  # what is asked for from now on is a later round
            followed.next_round = False
        try:
            news = await self._read_all(streams, reading, block=block)
        except BaseException:
            # The round is tried again, and must then read them, too: a refresh waits for it.
            for followed in once:
                followed.next_round = True
            raise
        for followed in reading.values():
            log = followed.log()
            if log is not None:
                written_elsewhere = not self._listener.writes(log.reply_id)
                followed.every_round = log.planned_end is None and written_elsewhere
        return _Round(len(streams), self._apply_news(news))

    async def _read_all(
        self, streams: dict[str, str], reading: dict[str, Followed], *, block: bool
    ) -> Page:
        """Read all that is new in streams, page by page, into their logs; return the news.

        So neither memory nor a turn of the event loop grows with what has come.
        """
        news: Page = []
        more, wait_ms = streams, ROUND_MS if block else None
        while more:
            answer = await self._client.xread(more, PAGE_ENTRIES, wait_ms)
            more, wait_ms = {}, None
            for stream, entries in answer or ():
                last_id, goes_on = entries[-1][0], True
                if stream == self._tag.news:
                    news += entries
                elif stream == self.bell.key:
                    self.bell.last_id = last_id
                else:
                    goes_on = await reading[stream].take(
                        entries, self._client, self._listener.lost
                    )
                if goes_on and len(entries) == PAGE_ENTRIES:
                    more[stream] = last_id
        return news

    def _apply_news(self, entries: Page) -> bool:
        """Take note of news, and return whether a log is followed that they are about."""
        concerned = False
        for entry_id, fields in entries:
            self._last_news = entry_id
            news = decode_news(fields)
            if news.number != self._news_number + 1:
                for followed in self._followed.values():
                    followed.next_round = concerned = True
            self._news_number = news.number
            if news.epoch is not None:
                self._listener.owner_changed(news.reply_id, news.epoch)
            about = self._followed.get(news.reply_id)
            if about is not None:
                log = about.log()
                about.next_round = log is not None and log.end is None
                concerned = concerned or about.next_round
        return concerned

    def _report_away(self, error: Exception) -> None:
        self._listener.disconnected()
        if self.away_us > self._patience_us and (logs := self.logs()):
            logger.warning("Redis is away: %s", self._commands.describe(error))
            for log in logs:
                self._listener.gave_up(log)


def _pause_s(streams: int) -> float:
    """Return the seconds for which more may arrive before the next round, by the streams of the last.

    Each stream costs Redis and this node some microseconds in a round, whether it has something or
    not, and owners write what they have some milliseconds at a time. Of thousands of streams a round
    takes longer than that, and so must the pause.
    """
    return max(min(streams * 40e-6, 0.008), min(streams * 4e-6, 0.02))
