"""The promise, for any text in any pieces, over any sequence of transports that break anywhere."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.eventstream import Comment, EventStreamParser
from chatsvc.settings import Settings

from .running import Inside, inside

pieces = st.lists(
    st.text(
        st.one_of(
            st.characters(codec=None),  # surrogates, too: a pair may be cut in two
            st.sampled_from("\r\n\u200d\ufe0f\u0301👨👩👧🇨🇳ก้한각각 a"),
        ),
        max_size=8,
    ),
    max_size=8,
)


class Step(NamedTuple):
    """Read over a transport, from `back` code points before the own position, and break off after `most` bytes or frames."""

    transport: str
    most: int
    back: int


TRANSPORTS = ("events", "events of a POST", "text", "ndjson", "poll", "websocket")
steps = st.lists(
    st.builds(
        Step, st.sampled_from(TRANSPORTS), st.integers(0, 300), st.integers(0, 9)
    ),
    max_size=6,
)


def clean(text: str) -> str:
    """A reply's text: pairs of surrogates joined, lone ones replaced, line ends normalised."""
    text = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]",
        lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"),
        text,
    )
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def spoken(messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """A backend that is told its pieces."""
    for piece in json.loads(messages[-1]["content"]):
        yield piece
        await asyncio.sleep(0)


class Client:
    """Has part of a reply's text and reads on; refuses a gap, drops what it has."""

    def __init__(self, chat: Inside, reply: str, text: str) -> None:
        self.chat = chat
        self.reply = reply
        self.text = text
        self.over = False

    def take(self, position: int, data: str) -> None:
        """Take text that ends at a position."""
        assert position - len(data) <= len(self.text), "a gap"
        if position > len(self.text):
            self.text += data[len(self.text) - position :]

    async def read(self, step: Step) -> None:
        """Read on, as a step says."""
        after = max(0, len(self.text) - step.back)
        if step.transport == "websocket":
            await self._websocket(after, step.most)
        elif step.transport == "poll":
            path = f"/api/chat/{self.reply}?after={after}&wait=9"
            got = await self.chat.json("GET", path)
            assert (got["reply"], got["after"]) == (self.reply, after)
            assert got["next"] == after + len(got["text"])
            self.take(got["next"], got["text"])
            self.over = got["state"] == "done"
        elif step.transport == "ndjson":
            kind = "application/x-ndjson"
            data, _ = await self._http("GET", after, kind, step.most)
            for line in data[: data.rfind(b"\n") + 1].splitlines():
                self._take_json(json.loads(line))
        elif step.transport == "text":
            data, whole = await self._http("GET", after, "text/plain", step.most)
            text = data.decode(errors="ignore")  # a code point that was cut
            self.take(after + len(text), text)
            self.over = whole
        else:
            method = "POST" if step.transport == "events of a POST" else "GET"
            data, _ = await self._http(method, after, "text/event-stream", step.most)
            for event in EventStreamParser().feed(data):
                if isinstance(event, Comment):
                    continue
                reply, _, place = event.id.partition(":")
                assert reply == self.reply
                if event.data == "[DONE]":
                    assert place == "end"
                    self.over = True
                else:
                    self.take(int(place), event.data)

    async def _http(
        self, method: str, after: int, kind: str, most: int
    ) -> tuple[bytes, bool]:
        """At most so many bytes of a body, and whether they are all."""
        headers = {"Accept": kind, "Last-Event-ID": f"{self.reply}:{after}"}
        path = "" if method == "POST" else f"/{self.reply}"
        url = f"{self.chat.url}/api/chat{path}"
        data = b""
        async with self.chat.session.request(method, url, headers=headers) as response:
            assert response.status == 200
            assert response.headers["X-Reply-Id"] == self.reply
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > most:
                    response.close()
                    return data[:most], False
        return data, True

    async def _websocket(self, after: int, most: int) -> None:
        url = self.chat.url + "/ws/chat"
        async with self.chat.session.ws_connect(url, protocols=["chatsvc.v1"]) as ws:
            await ws.send_json({"read": self.reply, "after": after})
            for _ in range(most):
                self._take_json(await ws.receive_json(timeout=9))
                if self.over:
                    return

    def _take_json(self, event: dict[str, str]) -> None:
        reply, _, place = event["id"].partition(":")
        assert reply == self.reply
        if event["data"] == "[DONE]":
            self.over = True
        else:
            self.take(int(place), event["data"])


Running = tuple[asyncio.Runner, Inside]


@pytest.fixture(scope="module", params=[0, 0.002], ids=["at once", "paced"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """One service for all examples, and the loop that it runs in."""
    stack = AsyncExitStack()
    service = inside(Settings(pace=request.param), backend=spoken)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner, runner.run(stack.enter_async_context(service))
        runner.run(stack.aclose())


@settings(max_examples=60, deadline=None)
@given(pieces=pieces, steps=steps, last=st.sampled_from(TRANSPORTS))
def test_the_text_comes_out_exactly_once(
    running: Running, pieces: list[str], steps: list[Step], last: str
) -> None:
    runner, chat = running

    async def read() -> None:
        async with asyncio.timeout(20):
            asked = json.dumps(pieces)
            got = await chat.json("POST", "/api/chat?wait=0", asked)
            client = Client(chat, got["reply"], got["text"])
            for step in steps:
                await client.read(step)
            while not client.over:  # a poll or a cut may need another
                await client.read(Step(last, 10**6, 0))
            assert client.text == clean("".join(pieces))

    runner.run(read())


def test_nothing_is_left_of_all_that(running: Running) -> None:
    runner, chat = running
    runner.run(chat.nothing_left())
