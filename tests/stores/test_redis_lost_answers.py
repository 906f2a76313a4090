"""Whatever is asked of Redis may be asked twice: here each answer is lost on its way, and the connection with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.model import End, Message, Prompt
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from chatsvc.units import Close, Mark, PartText, Unit, count_all
from tests.loopback import listening
from tests.redis_server import RedisServer


class Line:
    """A line to Redis that breaks instead of giving the answer to a script, if a test wants so."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.port = 0  # its own
        self._breaks = False
        self.broken = 0

    def break_next(self) -> None:
        """Lose the next answer."""
        self._breaks = True

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass one connection on."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        losing = False

        async def answers() -> None:
            while data := await up_reader.read(65536):
                if losing:
                    self.broken += 1
                    break
                writer.write(data)
            writer.close()

        answering = asyncio.create_task(answers())
        try:
            while data := await reader.read(65536):
                if self._breaks and b"EVALSHA" in data:
                    self._breaks, losing = False, True
                up_writer.write(data)
        except ConnectionError:
            pass
        finally:
            answering.cancel()
            up_writer.close()
            writer.close()


@pytest.fixture
async def line(redis_server: RedisServer) -> AsyncIterator[Line]:
    line = Line(redis_server.port)
    async with listening(line.serve) as line.port:
        yield line


async def test_a_script_that_is_sent_twice_has_done_its_work_once(
    line: Line, redis_server: RedisServer
) -> None:
    a = RedisStore(f"redis://127.0.0.1:{line.port}/1", keep=60)
    b = RedisStore(redis_server.database(1), keep=60)
    await a.open()
    await b.open()
    record = Record(new_reply_id(), keep(Prompt((Message("user", ""),))))
    try:
        await a.create(record)  # loads the scripts, which the first use of one does
        record = Record(new_reply_id(), keep(Prompt((Message("user", ""),))))
        line.break_next()
        await a.create(record)
        _, log = await a.find(record.reply_id)
        text = ""
        for piece in ("one ", "two "):
            text += piece
            line.break_next()
            await a.append(log, piece)
            while log.position < len(text):
                await a.refresh(log)
        units: list[Unit] = [Mark(1, "reasoning"), PartText(1, "hm"), Close(1)]
        for each in units:
            line.break_next()
            await a.append_side(log, [each])
            while log.offset < len(text) + count_all(units[: units.index(each) + 1]):
                await a.refresh(log)
        line.break_next()
        assert not await a.cluster.release(
            log
        )  # it can't tell; that it is not the owner any more, it can
        assert not a.cluster.owns(log)
        line.break_next()
        assert await a.cluster.take_over(log)
        line.break_next()
        await a.seal(log, End("done", "stop"))
        line.break_next()
        await a.finish(log, End("done", "stop"))
        assert line.broken == 10
        _, elsewhere = await b.find(record.reply_id)
        assert (elsewhere.text(0), elsewhere.end) == (text, End("done", "stop"))
        found = [unit for _, unit in elsewhere.units(0, elsewhere.offset)]
        assert found == [PartText(0, text), *units]
        async with Redis.from_url(redis_server.database(1)) as redis:
            entries = await redis.xlen(f"chatsvc:{{0}}:{record.reply_id}:log")
        assert entries == 7
    finally:
        await a.close()
        await b.close()
