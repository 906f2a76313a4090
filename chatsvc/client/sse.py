"""The transport `sse`: a reply as server-sent events (PROTOCOL.md section 3)."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.events import EventInterpreter
from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Broken, LastSignal, Signal, Wait
from chatsvc.client.wire import Question, broken_signal, refusal_signals, send_step
from chatsvc.eventstream import Comment, EventStreamError, EventStreamParser

# Two comments whose stamps are this far apart were sent apart; if they come in one read, something
# on the way has held the first one back (PROTOCOL.md section 3).
_BUNCHED_MS = 500

# After this process has worked for so long between two reads, that may be its own doing.
_BUSY_S = 0.25


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of one connection."""
    request = send_step(session, question, step, "text/event-stream")
    try:
        try:
            async with asyncio.timeout(question.timeouts.headers):
                response = await request.__aenter__()
        except TimeoutError:
            yield Broken("no headers came in time", switch=True)
            return
        try:
            async for signal in _body_signals(response, question):
                yield signal
        finally:
            response.close()
            await request.__aexit__(None, None, None)
    except (aiohttp.ClientError, OSError) as error:
        yield broken_signal(error)


async def _body_signals(
    response: aiohttp.ClientResponse, question: Question
) -> AsyncGenerator[Signal, None]:
    if response.status != 200:
        async for signal in refusal_signals(response):
            yield signal
        return
    if response.content_type != "text/event-stream":
        yield Broken(f"{response.content_type} came in place of events", switch=True)
        return
    if reply := response.headers.get("X-Reply-Id"):
        yield Attached(reply)
    parser = EventStreamParser(limit=question.limit)
    events = EventInterpreter()
    first, clock = True, asyncio.get_running_loop().time
    processed = clock()
    while True:
        # While this process was busy, events that came apart gathered in its own buffer.
        busy = clock() - processed > _BUSY_S
        hurried = first and question.has_alternatives
        timeouts = question.timeouts
        try:
            async with asyncio.timeout(
                timeouts.first_byte if hurried else timeouts.silence
            ):
                chunk = await response.content.readany()
        except TimeoutError:
            what = "no first byte came in time" if hurried else "the stream fell silent"
            yield Broken(what, switch=True)
            return
        processed = clock()
        if not chunk:
            yield Broken("the stream ended too early")
            return
        first = False
        stamps: list[int] = []
        try:
            for item in parser.feed(chunk):
                if isinstance(item, Comment):
                    stamps += _stamps(item)
                    continue
                for signal in events.signals(item):
                    yield signal
                    if isinstance(signal, LastSignal):
                        return
        except EventStreamError as error:
            yield Broken(str(error), switch=True)
            return
        if parser.retry is not None:
            yield Wait(parser.retry / 1000)
            parser.retry = None
        spread = max(stamps) - min(stamps) if stamps else 0
        if question.has_alternatives and not busy and spread >= _BUNCHED_MS:
            yield Broken("a proxy holds the stream back", switch=True)
            return


def _stamps(comment: Comment) -> list[int]:
    """Return the server's clock in Unix milliseconds, from a heartbeat that has it."""
    name, _, value = comment.text.strip().partition("=")
    return [int(value[:18])] if name == "t" and value.isdecimal() else []
