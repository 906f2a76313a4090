"""The replay of a trace: copies of the recorded nodes and replies send to one Redis what those did.

Invariants:

- Each node of a copy has a connection for its commands, and one for what it reads with XREAD. Over
  each it sends what the recorded node sent, write by write, in the same order.
- Time goes in windows of `WINDOW_US`. A window begins when all commands before the last one are
  answered, and at once: the replay goes as fast as Redis answers. A read that may wait (XREAD) holds
  up no window.
- A copy begins its replies again, with other ids, when all of them are over. The copies do so one
  after another, so that at any time the same number of replies run.
- An XREAD goes on from where the last one of its node ended, as the node would.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from .processes import Failed
from .redis_trace import Expected, Read, Step, Trace, status
from .resp import Incomplete, command, parse

WINDOW_US = 10_000
"""Microseconds of the recording that are sent together."""

KEPT_IDS = 20_000
"""Streams of which a node knows the last id at most."""

Look = Callable[[], dict[str, Any]]
"""A function that asks Redis for its figures (`INFO`)."""


@dataclass
class Replayed:
    """The result: how much was sent, in which time, and what Redis said of itself before and after.

    `replayed_s` is the time of the recording that was played while all copies ran, `wall_s` how
    long that took, and `commands` how many commands were sent in it. `wrong` counts the answers of
    scripts that differ from the recorded ones, by both, from the very beginning. There are some:
    where two nodes were at one reply within a moment, the other one may now be first.
    """

    replayed_s: float = 0
    wall_s: float = 0
    commands: int = 0
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)


class _Link(asyncio.Protocol):
    """One connection of a copy to Redis."""

    def __init__(self, player: _Player) -> None:
        self._player = player
        self._data = b""
        self._waiting: deque[Expected] = deque()  # the answers that are to come
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._player.fail(f"Redis closed a connection: {exc or 'without a reason'}")

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        at = 0
        try:
            while at < len(data):
                at = self._take(data, at)
                self._waiting.popleft()
        except Incomplete:
            pass
        self._data = data[at:]

    def _take(self, data: bytes, at: int) -> int:
        """Take the answer at an offset, and return where it ends. Raises `Incomplete`."""
        expected = self._waiting[0]
        if found := expected.pattern.match(data, at):
            self._player.answered()
            return found.end()
        answer, end = parse(data, at)
        if expected.status is not None and (is_ := status(answer)) != expected.status:
            self._player.wrong[f"{is_!r} for {expected.status!r}"] += 1
        self._player.answered()
        return end

    def send(self, data: bytes, answers: tuple[Expected, ...]) -> None:
        """Send commands, with what is to be answered."""
        if self._transport is not None:
            self._waiting.extend(answers)
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


class _Reader(_Link):
    """The connection over which a node reads. No window waits for its answers."""

    def __init__(self, player: _Player) -> None:
        super().__init__(player)
        self.last: dict[bytes, bytes] = {}  # by stream: the id of the last entry read

    def _take(self, data: bytes, at: int) -> int:
        answer, end = parse(data, at)
        # An empty answer is nothing; an error is one that the nodes got as well.
        streams = answer if isinstance(answer, list) else []
        for stream, entries in cast(list[tuple[bytes, list[list[bytes]]]], streams):
            self.last.pop(stream, None)
            self.last[stream] = entries[-1][0]
        while len(self.last) > KEPT_IDS:
            del self.last[next(iter(self.last))]
        return end


class _Copy:
    """One copy of the recorded nodes, `delay` windows behind the first."""

    def __init__(self, player: _Player, number: int, delay: int) -> None:
        self._player = player
        self._number = number
        self._links: list[
            tuple[_Link, _Reader]
        ] = []  # by node: for commands, for reads
        self._turn = 0
        self.delay = delay
        self.names = player.trace.names(number, 0)

    async def open(self, port: int) -> None:
        """Connect, and send what the nodes sent before the beginning."""
        for _ in range(self._player.trace.nodes):
            links = _Link(self._player), _Reader(self._player)
            for link in links:
                await _connect(link, port)
            self._links.append(links)
        for step in self._player.trace.before:
            self.play(step)
            await self._player.settled()

    def close(self) -> None:
        """Close all connections."""
        for link in chain.from_iterable(self._links):
            link.close()

    def begin_turn(self, turn: int) -> None:
        """Begin all replies again, with other ids."""
        self._turn = turn
        self.names = self._player.trace.names(self._number, turn)

    def play(self, step: Step) -> None:
        """Send a step."""
        now_us = time.time_ns() // 1000
        commands, reader = self._links[step.node]
        data = step.form.filled(self.names, now_us)
        if not step.reads:
            self._player.sent(len(step.answers))
            commands.send(data, step.answers)
            return
        streams = [read.stream.filled(self.names, now_us) for read in step.reads]
        ids = [
            self._after(reader, stream, read)
            for stream, read in zip(streams, step.reads, strict=True)
        ]
        self._player.sent(1, awaited=False)
        words = command(*streams, *ids).partition(b"\r\n")[2]
        reader.send(data + words, step.answers)

    def _after(self, reader: _Reader, stream: bytes, read: Read) -> bytes:
        """Return the id behind which a stream is read now."""
        last = reader.last.get(stream)
        if read.after_us is None or not read.of_reply:
            return last or b"0-0"
        # A node that writes a reply itself knows its entries without reading them. An entry is
        # rather read twice than left out: some of the same millisecond may be later.
        known = self._player.wall_ms(read.after_us, self.delay, self._turn) - 1
        if last is not None and int(last.split(b"-")[0]) > known:
            return last
        return b"%d-0" % known


async def _connect(link: _Link, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: link, "127.0.0.1", port)


class _Player:
    """The player of a trace, in so many copies."""

    def __init__(self, trace: Trace, copies: int) -> None:
        self.trace = trace
        self.length = max(1, -(-trace.length_us // WINDOW_US))
        self.windows: list[list[Step]] = [[] for _ in range(self.length)]
        for step in trace.steps:
            self.windows[step.at_us // WINDOW_US].append(step)
        self.copies = [
            _Copy(self, number, number * self.length // copies)
            for number in range(copies)
        ]
        self.wrong: Counter[str] = Counter()
        self.commands = 0
        self._began_ms: list[int] = []  # when each window began
        self._awaited = 0  # of the commands that a window waits for, all that were sent
        self._unanswered = 0
        self._most_unanswered = 0  # for which `settled` returns
        self._settled: asyncio.Future[None] | None = None
        self._failed = ""

    def wall_ms(self, recorded_us: int, delay: int, turn: int) -> int:
        """Return when what was recorded at a time was over in a copy's turn (ms since 1970)."""
        window = (recorded_us - self.trace.begin_us) // WINDOW_US
        at = delay + turn * self.length + window + 1
        return (
            self._began_ms[at]
            if 0 <= at < len(self._began_ms)
            else time.time_ns() // 1_000_000
        )

    def sent(self, count: int, *, awaited: bool = True) -> None:
        """Count commands that are sent; the window ends when those that are `awaited` are answered."""
        self.commands += count
        if awaited:
            self._awaited += count
            self._unanswered += count

    def answered(self) -> None:
        """Count an answer."""
        self._unanswered -= 1
        few = self._unanswered <= self._most_unanswered
        if few and self._settled is not None:
            self._settled.set_result(None)
            self._settled = None

    def fail(self, why: str) -> None:
        """End the replay."""
        self._failed = self._failed or why
        if self._settled is not None:
            self._settled.set_exception(Failed(self._failed))
            self._settled = None

    async def settled(self, but: int = 0) -> None:
        """Wait until all `but` so many are answered. Raises `Failed` when a connection is lost."""
        if self._failed:
            raise Failed(self._failed)
        self._most_unanswered = but
        if self._unanswered > but:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    async def play_window(self, number: int) -> None:
        """Send what all copies have in a window, and wait for the answers of those before."""
        before = self._awaited
        self._began_ms.append(time.time_ns() // 1_000_000)
        for copy in self.copies:
            turn, at = divmod(number - copy.delay, self.length)
            if turn >= 0:
                if at == 0:
                    copy.begin_turn(turn)
                for step in self.windows[at]:
                    copy.play(step)
        await self.settled(self._awaited - before)
        # Also without anything to wait for, so that what was read is taken.
        await asyncio.sleep(0)


async def replay(
    trace: Trace, copies: int, port: int, seconds: float, hour_s: float, look: Look
) -> Replayed:
    """Play a trace in so many copies on the Redis at a port of the loopback.

    The first turn is not counted. Then it plays `hour_s` seconds of the recording's time, or what
    can be played in `seconds`. `look` is called before and after. Raises `Failed`.
    """
    player, done = _Player(trace, copies), Replayed()
    try:
        async with asyncio.timeout(20 * seconds + 120):
            for copy in player.copies:
                await copy.open(port)
            for number in range(player.length):
                await player.play_window(number)
            done.before, sent, began = look(), player.commands, time.monotonic()
            number, windows = player.length, round(hour_s * 1e6 / WINDOW_US)
            while (
                time.monotonic() - began < seconds and number < player.length + windows
            ):
                await player.play_window(number)
                number += 1
            done.wall_s = time.monotonic() - began
            done.after = look()
    except TimeoutError:
        raise Failed("the copies can't be begun in this time: play fewer") from None
    except OSError as e:
        raise Failed(f"Redis: {e}") from None
    finally:
        for copy in player.copies:
            copy.close()
    done.commands = player.commands - sent
    done.replayed_s = (number - player.length) * WINDOW_US / 1e6
    done.wrong = player.wrong
    return done
