"""Replies of several parts: a backend that follows a script of pieces, and readers over each transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, NamedTuple

from chatsvc.model import Piece, Prompt

from .running import Answer, Chat, without_comments

NDJSON = "Accept: application/x-ndjson"
JSON = "Accept: application/json"


class Pieces:
    """A backend that follows a script: pieces are yielded, an error raised, an event waited for."""

    name = "pieces"
    lag = None
    resumes = False

    def __init__(
        self, *script: Piece | BaseException | asyncio.Event, pace: float = 0
    ) -> None:
        self.script = script
        self.pace = pace

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for item in self.script:
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, asyncio.Event):
                await item.wait()
            else:
                yield item

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Event(NamedTuple):
    """An event of the parts view: the place behind the reply's id in its id, and its data."""

    place: str
    data: Any


def sse_events(reply: str, answer: Answer) -> list[Event]:
    """The events of a stream of them, each of which has exactly an id and one line of data."""
    found = []
    *events, rest = without_comments(answer.body).decode().split("\n\n")
    assert rest == ""
    for event in events:
        first, second = event.split("\n")
        assert first.startswith(f"id: {reply}:") and second.startswith("data: ")
        data = second.removeprefix("data: ")
        place = first.removeprefix(f"id: {reply}:")
        found.append(Event(place, data if data == "[DONE]" else json.loads(data)))
    return found


def frame_event(reply: str, frame: dict[str, Any]) -> Event:
    """The event that a frame of `chatsvc.v2` is."""
    assert frame.keys() == {"id", "data"}
    named, _, place = frame["id"].rpartition(":")
    assert named == reply
    return Event(place, frame["data"])


async def by_sse(chat: Chat, reply: str, after: str) -> list[Event]:
    cursor = f"Last-Event-ID: {reply}:{after}"
    answer = await chat.raw(f"GET /api/chat/{reply}?view=parts", cursor)
    assert answer.status == 200 and answer.complete
    return sse_events(reply, answer)


async def by_post(chat: Chat, reply: str, after: str) -> list[Event]:
    cursor = f"Last-Event-ID: {reply}:{after}"
    answer = await chat.raw("POST /api/chat?view=parts", cursor)
    return sse_events(reply, answer)


async def by_ndjson(chat: Chat, reply: str, after: str) -> list[Event]:
    line = f"GET /api/chat/{reply}?view=parts&after={after}"
    answer = await chat.raw(line, NDJSON)
    assert answer.status == 200 and answer.complete
    lines = answer.body.decode().splitlines()
    return [frame_event(reply, json.loads(line)) for line in lines]


async def by_socket(chat: Chat, reply: str, after: str) -> list[Event]:
    place = after if after.startswith("@") else int(after)
    found: list[Event] = []
    async with chat.session.ws_connect(
        chat.url + "/ws/chat", protocols=["chatsvc.v2", "chatsvc.v1"]
    ) as ws:
        assert ws.protocol == "chatsvc.v2"
        await ws.send_json({"read": reply, "after": place})
        while not found or found[-1].data != "[DONE]":
            found.append(frame_event(reply, await ws.receive_json(timeout=10)))
    return found


async def by_poll(chat: Chat, reply: str, after: str) -> list[Event]:
    """The events of long polls, and the `[DONE]` that the others have."""
    found: list[Event] = []
    state = "running"
    while state == "running":
        path = f"/api/chat/{reply}?view=parts&after={after}&wait=10"
        got = await chat.json("GET", path)
        if found:
            assert got["after"] == after
        found += [frame_event(reply, frame) for frame in got["events"]]
        after, state = got["next"], got["state"]
    return [*found, Event("end", "[DONE]")]


Reader = Callable[[Chat, str, str], Coroutine[Any, Any, list[Event]]]

READERS: dict[str, Reader] = {
    "sse": by_sse,
    "post": by_post,
    "ndjson": by_ndjson,
    "socket": by_socket,
    "poll": by_poll,
}
"""Functions that read the parts of a reply to its end, from behind the place of a cursor."""


def units(events: list[Event], before: int) -> list[tuple[int, int, object]]:
    """The units of events that were read from behind offset `before`, as (offset, part, what).

    Their offsets must have no gaps (law 3), and marks of open parts come before all others.
    """
    found: list[tuple[int, int, object]] = []
    resuming, begin = True, before
    for place, data in events:
        if place == "end":
            continue
        assert place[0] == "@"
        offset = int(place[1:])
        if data.get("resumed"):
            assert resuming and offset == begin
            continue
        resuming = False
        if data["type"] == "delta":
            assert data.keys() == {"type", "part", "text"} and data["text"]
            whats: list[object] = list(data["text"])
        else:
            whats = [data]
        for what in whats:
            before += 1
            found.append((before, data["part"], what))
        assert offset == before
    return found
