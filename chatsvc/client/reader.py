"""The reader of one reply: from its question to its end, over whatever transport works."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import aiohttp

from chatsvc.client import ndjson, poll, sse, text, websocket
from chatsvc.client.reading import Reading, Step
from chatsvc.client.signals import Broken, Refused, Signal, UnitsReceived
from chatsvc.client.wire import Question, send_step
from chatsvc.proxies import proxy_of

Transport = Callable[
    [aiohttp.ClientSession, Question, Step], AsyncGenerator[Signal, None]
]
"""A function that sends a step's request and yields the signals of that one connection."""

TRANSPORTS: dict[str, Transport] = {
    "sse": sse.read,
    "ndjson": ndjson.read,
    "websocket": websocket.read,
    "text": text.read,
    "poll": poll.read,
}
"""The transports, by the name that `--transport` has for each."""

AUTO = ("sse", "websocket", "poll")
"""The transports that `--transport auto` uses, in the order in which it tries them."""

_STOP_TIMEOUT_S = 5.0


async def read_step(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of one connection, over the step's transport.

    Where the environment has a proxy for the service, what is broken, or refused by something else
    than chatsvc, names it: it may be to blame.
    """
    proxy = None if question.uds else proxy_of(question.base)
    async with aclosing(TRANSPORTS[step.transport](session, question, step)) as signals:
        async for signal in signals:
            if proxy is not None:
                signal = _naming(signal, f"; asked through {proxy.shown}")
            yield signal


def _naming(signal: Signal, clause: str) -> Signal:
    match signal:
        case Broken(reason):
            return replace(signal, reason=reason + clause)
        case Refused(problem) if not problem.code:
            return replace(
                signal, problem=replace(problem, title=problem.title + clause)
            )
    return signal


async def read_text(
    session: aiohttp.ClientSession,
    question: Question,
    reading: Reading,
    notify: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    think: Callable[[int, str], None] = lambda part, text: None,
) -> AsyncGenerator[str, None]:
    """Yield the answer's text, in pieces as they come, until `reading` has an outcome.

    `notify` is called with one line when the transport is changed; `sleep` waits the seconds that
    it is given, before each connection. `think` is called with the number of a part of reasoning
    and a piece of its text, if `question` and `reading` are of the parts view.
    """
    while (step := reading.next()) is not None:
        await sleep(step.delay)
        async with aclosing(read_step(session, question, step)) as signals:
            async for signal in signals:
                if new := reading.take(signal):
                    if not isinstance(signal, UnitsReceived) or signal.part == 0:
                        yield new
                    elif signal.kind == "reasoning":
                        think(signal.part, new)
                if reading.outcome is not None:
                    break
        if reading.notice:
            notify(reading.notice)
            reading.notice = ""


async def stop_reply(
    session: aiohttp.ClientSession, question: Question, reply: str | None
) -> bool:
    """Stop the reply on the server (PROTOCOL.md section 7); return whether the server took it.

    While its id is not known, the question is sent once more with the same key: that attaches to
    the reply, or starts it, and either way the answer has the id. It takes at most 5 seconds.
    """
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
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
