"""Reads one reply from its question to its end, over whatever works."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import aiohttp

from chatsvc.client import poll, sse, text, websocket
from chatsvc.client.reading import Reading, Step
from chatsvc.client.wire import Question, send_step

TRANSPORTS = {
    "sse": sse.read,
    "websocket": websocket.read,
    "text": text.read,
    "poll": poll.read,
}
AUTO = ("sse", "websocket", "poll")
_STOP_TIMEOUT = 5.0  # seconds


async def pieces(
    session: aiohttp.ClientSession,
    question: Question,
    reading: Reading,
    notice: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[str, None]:
    """Give the reply's text, in pieces as they come, until `reading` has an outcome.

    `notice` is told, in words, when the transport is changed; `sleep` waits that many
    seconds before a connection.
    """
    while (step := reading.next()) is not None:
        await sleep(step.delay)
        async with aclosing(
            TRANSPORTS[step.transport](session, question, step)
        ) as signals:
            async for signal in signals:
                if new := reading.take(signal):
                    yield new
                if reading.outcome is not None:
                    break
        if reading.notice:
            notice(reading.notice)
            reading.notice = ""


async def stop(
    session: aiohttp.ClientSession, question: Question, reply: str | None
) -> bool:
    """Stop the reply on the server (PROTOCOL.md section 7); say whether it took it.

    When its id is not known yet, the question is put once more under the same key: that
    attaches to the reply, or starts it, and either way says which one to stop.
    """
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            if reply is None:
                step = Step("poll", None, 0, 0.0)
                async with send_step(
                    session, question, step, "application/json", wait=0
                ) as response:
                    reply = str(json.loads(await response.read())["reply"])
            url = question.base.joinpath("api/chat", reply, "stop")
            async with session.post(url) as response:
                return response.status in (200, 202)
    except (aiohttp.ClientError, OSError, ValueError, TypeError, KeyError):
        return False
