"""The recorder of what nodes send to Redis: a proxy that stands between them and notes all bytes.

It knows nothing of chatsvc. `Recorder.commands` returns what was sent, command by command, each with
its answer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from ..loopback import listening
from .machine import Cores
from .resp import Parser, Value


@dataclass(frozen=True)
class Command:
    """A command that a node has sent.

    `at_us` is the time of the machine's clock (microseconds since 1970) at which it came,
    `connection` the number of the connection that it came over, and `write` that of the write
    within which it came: what a node sends in one round trip has the same.
    """

    at_us: int
    connection: int
    write: int
    words: tuple[bytes, ...]
    answer: Value


class _Connection:
    """The bytes of one connection, as they came: the time (µs) and the bytes of each read."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.answered: list[bytes] = []


class Recorder:
    """A proxy for one Redis; `port` is where it listens."""

    def __init__(self, redis_port: int) -> None:
        self._redis_port = redis_port
        self._connections: list[_Connection] = []
        self.port = 0

    def commands(self) -> list[Command]:
        """Return all commands that were answered, in the order in which they came."""
        found = [
            command
            for number, connection in enumerate(self._connections)
            for command in _commands(number, connection)
        ]
        return sorted(found, key=lambda command: command.at_us)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass the bytes of one connection on, both ways, until either side ends it."""
        connection = _Connection()
        self._connections.append(connection)
        its_reader, its_writer = await asyncio.open_connection(
            "127.0.0.1", self._redis_port
        )

        async def send() -> None:
            while data := await reader.read(1 << 16):
                connection.sent.append((time.time_ns() // 1000, data))
                its_writer.write(data)
                await its_writer.drain()

        async def answer() -> None:
            while data := await its_reader.read(1 << 16):
                connection.answered.append(data)
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(send()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            its_writer.close()


def _commands(number: int, connection: _Connection) -> Iterator[Command]:
    """Yield the commands of a connection that were answered: the answers come in their order."""
    parser = Parser()
    answers = iter(parser.feed(b"".join(connection.answered)))
    parser = Parser()
    for write, (at_us, data) in enumerate(connection.sent):
        for words in parser.feed(data):
            try:
                answer = next(answers)
            except StopIteration:
                return
            yield Command(at_us, number, write, tuple(cast(list[bytes], words)), answer)


@contextmanager
def recording(redis_port: int, cores: Cores) -> Iterator[Recorder]:
    """Run a recorder before the Redis at this port until the block ends, on the load's core."""
    recorder = Recorder(redis_port)
    loop = asyncio.new_event_loop()
    begun, ending = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with listening(recorder.serve) as recorder.port:
            begun.set()
            await ending.wait()

    def work() -> None:
        try:
            cores.place_this_thread()
            loop.run_until_complete(run())
        finally:
            begun.set()
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    try:
        yield recorder
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
