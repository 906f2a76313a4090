"""Reads a reply as server-sent events (PROTOCOL.md section 3)."""

import asyncio
import json
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.reading import Step
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    Problem,
    Signal,
    TextReceived,
    Wait,
)
from chatsvc.client.wire import Question, broken, problem_of, refusal, send_step
from chatsvc.eventstream import Comment, Event, EventStreamError, EventStreamParser

_BUNCHED = 500  # milliseconds between the stamps of two comments that came in one read
_BUSY = 0.25  # seconds of our own that may bunch what the network did not


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Give the signals of one connection."""
    patience = question.patience
    request = send_step(session, question, step, "text/event-stream")
    try:
        try:
            async with asyncio.timeout(patience.headers):
                response = await request.__aenter__()
        except TimeoutError:
            yield Broken("no headers came in time", leave=True)
            return
        try:
            async for signal in _body(response, question):
                yield signal
        finally:
            response.close()
            await request.__aexit__(None, None, None)
    except (aiohttp.ClientError, OSError) as error:
        yield broken(error)


async def _body(
    response: aiohttp.ClientResponse, question: Question
) -> AsyncGenerator[Signal, None]:
    if response.status != 200:
        async for signal in refusal(response):
            yield signal
        return
    if response.content_type != "text/event-stream":
        yield Broken(f"{response.content_type} came in place of events", leave=True)
        return
    if reply := response.headers.get("X-Reply-Id"):
        yield Attached(reply)
    patience, parser, events = (
        question.patience,
        EventStreamParser(),
        EventInterpreter(),
    )
    first, clock = True, asyncio.get_running_loop().time
    processed = clock()
    while True:
        busy = clock() - processed > _BUSY
        processed = clock()
        hasty = first and question.wary
        try:
            async with asyncio.timeout(
                patience.first_byte if hasty else patience.silence
            ):
                chunk = await response.content.readany()
        except TimeoutError:
            what = "no first byte came in time" if hasty else "the stream fell silent"
            yield Broken(what, leave=True)
            return
        processed = clock()
        if not chunk:
            yield Broken("the stream ended too early")
            return
        first = False
        stamps = []
        try:
            for item in parser.feed(chunk):
                if isinstance(item, Comment):
                    stamps.append(_stamp(item))
                    continue
                for signal in events.signals(item):
                    yield signal
                    if isinstance(signal, Ended):
                        return
        except EventStreamError as error:
            yield Broken(str(error), leave=True)
            return
        if parser.retry is not None:
            yield Wait(parser.retry / 1000)
            parser.retry = None
        times = [stamp for stamp in stamps if stamp is not None]
        spread = max(times) - min(times) if times else 0
        if question.wary and not busy and spread >= _BUNCHED:
            yield Broken("a proxy holds the stream back", leave=True)
            return


class EventInterpreter:
    """Tells what events mean; the WebSocket's frames mirror them (section 4)."""

    def __init__(self) -> None:
        self._reply = ""
        self._state = "done"
        self._problem: Problem | None = None

    def signals(self, event: Event) -> list[Signal]:
        """Give the signals of one event."""
        reply, _, place = event.id.rpartition(":")
        found: list[Signal] = []
        if reply and reply != self._reply:
            self._reply = reply
            found.append(Attached(reply))
        if event.event in ("stopped", "failed"):
            self._state = event.event
            self._problem = _problem(event.data)
        elif event.event != "message":
            pass  # of a later contract
        elif event.data == "[DONE]":
            found.append(Ended(self._state, self._problem))
        elif place.isascii() and place.isdigit():
            found.append(TextReceived(int(place[:18]), event.data))
        else:
            found.append(Broken("an event came without its position", leave=True))
        return found


def _problem(data: str) -> Problem:
    try:
        return problem_of(json.loads(data), 0, "")
    except ValueError:
        return problem_of(None, 0, "")


def _stamp(comment: Comment) -> int | None:
    name, _, value = comment.text.strip().partition("=")
    return int(value[:18]) if name == "t" and value.isdecimal() else None
