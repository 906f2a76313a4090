"""The limits of one client: what it gets beyond them, and that others get on.

Clients are told apart by addresses of the loopback, or by the users that `authorize` names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.app import create_app
from chatsvc.client_limits import NO_LIMITS, ClientLimits
from chatsvc.problems import TooManyRequests
from chatsvc.requests.values import Caller
from chatsvc.settings import Settings
from chatsvc.web import use
from chatsvc.web.beyond import MOST_WAITING
from chatsvc.web.use import USE, OpenCounts, Place, Use, rate_limit_headers

from .running import Answer, Inside, Scripted, eventually, inside, parse

CHAT = "POST /api/chat"
BODY = b'{"message": "hi"}'
V1 = ("chatsvc.v1",)
RUNNING = '"running";q=2;qu="concurrent-requests"'


class Client(Inside):
    """A client at an address of its own, of a service that runs."""

    def __init__(self, chat: Inside, address: str) -> None:
        super().__init__(
            chat.app, chat._runner, int(chat.url.rpartition(":")[2]), chat.session
        )
        self.address = address

    async def connect(
        self, line: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.silent()
        lines = [f"{line} {version}", f"Host: {self.host}:{self.port}", *headers]
        if body:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return reader, writer

    async def silent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, and send nothing."""
        reader, writer = await asyncio.open_connection(
            self.host, self.port, local_addr=(self.address, 0)
        )
        self._writers.append(writer)
        return reader, writer


@asynccontextmanager
async def two_clients(
    settings: Settings, **arguments: Any
) -> AsyncIterator[tuple[Client, Client]]:
    """A service that never ends a reply by itself, a greedy client of it and a modest one."""
    arguments = {"backend": Scripted("ab", asyncio.Event()), **arguments}
    async with inside(settings, **arguments) as chat:
        greedy, modest = Client(chat, "127.0.0.2"), Client(chat, "127.0.0.3")
        try:
            yield greedy, modest
        finally:
            greedy.close()
            modest.close()


def refused(answer: Answer, limit: str, most: int) -> dict[str, Any]:
    """Check a 429, and return its body."""
    assert answer.status == 429, answer
    body: dict[str, Any] = json.loads(answer.body)
    assert (body["type"], body["limit"]) == ("/problems/too-many-requests", limit)
    assert body["retry_after"] == int(answer.headers["Retry-After"]) >= 1
    assert str(most) in body["detail"]
    assert answer.headers["RateLimit-Policy"].startswith(f'"{limit}";q={most};')
    assert answer.headers["RateLimit"].startswith(f'"{limit}";r=0')
    return body


async def test_running_replies() -> None:
    async with two_clients(Settings(max_per_client=2, grace=0)) as (greedy, modest):
        open_ones = [await greedy.connect(CHAT, body=BODY) for _ in "ab"]
        await eventually(lambda: greedy.replies.running == 2)
        answer = await greedy.raw(CHAT, body=BODY)
        refused(answer, "running", 2)
        assert answer.headers["RateLimit-Policy"] == RUNNING
        assert answer.headers["RateLimit"] == '"running";r=0'
        _, theirs = await modest.connect(CHAT, body=BODY)
        await eventually(lambda: greedy.replies.running == 3)
        open_ones[0][1].close()
        await eventually(lambda: greedy.replies.running == 2)
        assert (
            await greedy.raw(f"{CHAT}?wait=0", "Accept: application/json", body=BODY)
        ).status == 200
        theirs.close()
        metrics = await greedy.metrics()
        assert metrics['chatsvc_limit_refusals_total{limit="running"}'] == 1


async def test_starts_of_a_minute() -> None:
    settings = Settings(max_starts=3, pace=0)
    async with two_clients(settings, backend=None) as (greedy, modest):
        for _ in range(3):
            answer = await greedy.raw(CHAT, body=BODY)
            assert answer.status == 200
            assert not {"RateLimit", "RateLimit-Policy", "Retry-After"} & set(
                answer.headers
            )
        answer = await greedy.raw(CHAT, body=BODY)
        body = refused(answer, "starts", 3)
        wait = body["retry_after"]
        assert 55 <= wait <= 65
        assert f"try again in {wait} s" in body["detail"]
        assert answer.headers["RateLimit-Policy"] == '"starts";q=3;w=60'
        assert answer.headers["RateLimit"] == f'"starts";r=0;t={wait}'
        # To read costs no start, and others are not concerned.
        reply = (await modest.raw(CHAT, body=BODY)).reply
        assert (await greedy.raw(f"GET /api/chat/{reply}")).status == 200
        # All ways to start a reply count as one.
        for line, body_bytes in (
            (
                "POST /api/ui",
                b'{"id":"x","messages":[{"id":"1","role":"user","parts":[]}]}',
            ),
            ("GET /api/chat?message=hi", b""),
        ):
            refused(await greedy.raw(line, body=body_bytes), "starts", 3)
        v1 = await greedy.raw(
            "POST /v1/chat/completions",
            body=b'{"messages": [{"role": "user", "content": "hi"}]}',
        )
        assert (v1.status, 0 < int(v1.headers["Retry-After"]) <= wait) == (429, True)
        error = json.loads(v1.body)["error"]
        assert (error["type"], error["code"]) == (
            "rate_limit_error",
            "too-many-requests",
        )
        assert v1.headers["RateLimit-Policy"] == '"starts";q=3;w=60'


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/chat/{reply}",
        "GET /api/chat/{reply}?view=parts",
    ],
)
@pytest.mark.parametrize(
    "accept",
    ["text/event-stream", "application/x-ndjson", "application/json"],
)
async def test_readers(line: str, accept: str) -> None:
    settings = Settings(max_readers=2, pace=0)
    async with two_clients(settings) as (greedy, modest):
        reply = await modest.start()
        path = line.format(reply=reply)
        if accept == "application/json":
            path += f"{'&' if '?' in path else '?'}wait=30&after=1"
        readers = greedy.app[USE].readers
        before = readers.total
        mine = [await greedy.connect(path, f"Accept: {accept}") for _ in "ab"]
        await eventually(lambda: readers.total == before + 2)
        refused(await greedy.raw(path, f"Accept: {accept}"), "readers", 2)
        # No reply begins that can't be read.
        refused(await greedy.raw(CHAT, body=BODY), "readers", 2)
        assert greedy.replies.running == 1
        _, writer = await modest.connect(path, f"Accept: {accept}")
        await eventually(lambda: readers.total == before + 3)
        writer.close()
        for _, each in mine:
            each.close()
        await eventually(lambda: readers.total == 0)
        assert not len(readers)
        await modest.json("POST", f"/api/chat/{reply}/stop")
        assert (await greedy.raw(f"GET /api/chat/{reply}")).status == 200


async def test_readers_of_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "MOST_READERS", 1)
    monkeypatch.setattr(use, "READERS_FACTOR", 1)
    async with two_clients(Settings(max_readers=1)) as (greedy, modest):
        await greedy.connect(CHAT, body=BODY)
        await eventually(lambda: greedy.app[USE].readers.total == 1)
        answer = await modest.raw(CHAT, body=BODY)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert json.loads(answer.body)["type"] == "/problems/overloaded"
        assert "RateLimit" not in answer.headers


async def test_each_reply_that_a_websocket_gets_is_a_reader() -> None:
    async with two_clients(Settings(max_readers=2)) as (greedy, _):
        ws = await greedy.session.ws_connect(greedy.url + "/ws/chat", protocols=V1)
        readers = greedy.app[USE].readers
        for key in "ab":
            await ws.send_json({"message": "x", "key": key})
        await eventually(lambda: readers.total == 2)
        await ws.send_json({"message": "x", "key": "c"})
        while True:
            event = await ws.receive_json(timeout=5)
            if event.get("event") == "failed":
                break
        assert (event["key"], event["data"]["limit"]) == ("c", "readers")
        assert (event["data"]["status"], event["data"]["retry_after"]) == (429, 1)
        metrics = await greedy.metrics()
        assert metrics['chatsvc_limit_refusals_total{limit="readers"}'] == 1
        connections = greedy.app[USE].connections
        before = connections.total
        await ws.close()
        await eventually(lambda: readers.total == 0)
        await eventually(lambda: connections.total == before - 1)


async def test_replies_in_turn_on_a_bare_websocket_are_one_reader() -> None:
    settings = Settings(max_readers=1, pace=0)
    async with two_clients(settings, backend=None) as (greedy, _):
        ws = await greedy.session.ws_connect(greedy.url + "/ws/chat")
        for _ in range(3):
            await ws.send_str('{"message": "hi"}')
        got = ""
        while got.count("[DONE]") < 3:
            got += await ws.receive_str(timeout=5)
        await ws.close()
        await eventually(lambda: greedy.app[USE].readers.total == 0)


async def test_a_bare_websocket_beyond_a_limit_is_closed_by_4429() -> None:
    async with two_clients(Settings(max_starts=1)) as (greedy, _):
        ws = await greedy.session.ws_connect(greedy.url + "/ws/chat")
        await ws.send_str('{"message": "hi"}')
        other = await greedy.session.ws_connect(greedy.url + "/ws/chat")
        await eventually(lambda: greedy.replies.running == 1)
        await other.send_str('{"message": "hi"}')
        assert (await other.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        assert other.close_code == 4429
        await ws.close()


async def test_a_reading_whose_answer_is_dropped_gives_its_place_back() -> None:
    @web.middleware
    async def drop(request: web.Request, handler: Any) -> web.StreamResponse:
        await handler(request)
        return web.Response(text="dropped")

    outer = web.Application(middlewares=[drop])
    inner = create_app(Settings(pace=0))
    outer.add_subapp("/chat/", inner)
    async with inside(Settings(pace=0), outer) as chat:
        answer = await chat.raw("POST /chat/api/chat", body=BODY)
        assert answer.body == b"dropped"
        await eventually(lambda: inner[USE].readers.total == 0)


async def who(request: web.Request) -> str | None:
    return request.headers.get("Authorization")


async def test_users_at_one_address_are_counted_by_their_names() -> None:
    settings = Settings(max_per_client=1, max_connections=2, grace=0)
    async with two_clients(settings, authorize=who) as (client, _):
        for name in ("ann", "bob", "cyd"):
            await client.connect(CHAT, f"Authorization: {name}", body=BODY)
            await eventually(
                lambda: client.app[USE].connections.of(f"user:{name}") == 1  # noqa: B023
            )
        await eventually(lambda: client.replies.running == 3)
        refused(await client.raw(CHAT, "Authorization: ann", body=BODY), "running", 1)
        # With that connection closed she has one; a second is good, and a third is not.
        await eventually(lambda: client.app[USE].connections.of("user:ann") == 1)
        _, writer = await client.connect("GET /", "Authorization: ann")
        await eventually(lambda: client.app[USE].connections.of("user:ann") == 2)
        refused(await client.raw("GET /", "Authorization: ann"), "connections", 2)
        writer.close()
        assert client.app[USE].connections.of("address:127.0.0.2") == 0


async def test_who_leaves_before_it_is_known_is_counted_for_nothing() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> str | None:
        asked.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            await go_on.wait()
        return "ann"

    async with two_clients(Settings(), authorize=slowly) as (client, _):
        counts = client.app[USE].connections
        _, writer = await client.connect("GET /v1/models")
        await asked.wait()
        assert counts.of("address:127.0.0.2") == 1
        writer.close()
        await eventually(lambda: counts.of("address:127.0.0.2") == 0)
        go_on.set()
        await client.raw("GET /v1/models")
        await eventually(lambda: counts.total == 0)
        assert not len(counts)


# ---------------------------------------------------------------------- connections


async def test_connections_of_one_address() -> None:
    async with two_clients(Settings(max_connections=2)) as (greedy, modest):
        counts = greedy.app[USE].connections
        mine = [await greedy.silent() for _ in "ab"]
        await eventually(lambda: counts.of("address:127.0.0.2") == 2)
        answer = await greedy.raw("GET /v1/models")
        assert answer.status == 429
        answer = await greedy.raw("GET /api/chat?message=hi")
        refused(answer, "connections", 2)
        assert answer.headers["Connection"] == "close"
        for path in ("/healthz", "/readyz"):
            reader, _ = await greedy.connect(f"GET {path}")
            data = await asyncio.wait_for(reader.read(), 10)
            assert parse(data).status == 200
        # Who only connects is told so, and others go on.
        reader, _ = await greedy.silent()
        told = parse(await asyncio.wait_for(reader.read(), 10))
        assert (told.status, told.headers["Retry-After"]) == (429, "1")
        assert told.headers["RateLimit-Policy"].startswith('"connections";q=2;')
        assert b"2 connections" in told.body
        assert (await modest.raw("GET /v1/models")).status == 200
        metrics = await modest.metrics()
        assert metrics['chatsvc_limit_refusals_total{limit="connections"}'] == 3
        assert metrics['chatsvc_connections_cut_total{reason="limit"}'] == 1
        mine[0][1].close()
        await eventually(lambda: counts.of("address:127.0.0.2") == 1)
        assert (await greedy.raw("GET /v1/models")).status == 200
        # The ones that were there before were good all the time.
        reader, writer = mine[1]
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        greedy.close()
        await eventually(lambda: counts.of("address:127.0.0.2") == 0)


async def test_a_crowd_of_silent_connections_keeps_no_operator_out() -> None:
    async with two_clients(Settings(max_connections=1)) as (greedy, modest):
        crowd = [await greedy.silent() for _ in range(MOST_WAITING + 20)]
        answer = await greedy.raw("GET /healthz")
        assert answer.status == 200
        answers = [parse(await asyncio.wait_for(r.read(), 10)) for r, _ in crowd[1:]]
        assert {answer.status for answer in answers} == {429}
        assert (await modest.raw("GET /v1/models")).status == 200
        assert not greedy.app[USE].connections.of("address:127.0.0.3")


async def test_a_proxys_connection_counts_for_the_client_of_its_last_request() -> None:
    settings = Settings(max_connections=1, trusted_proxy=("127.0.0.2",))
    async with two_clients(settings) as (proxy, modest):
        counts = proxy.app[USE].connections
        for _ in range(5):
            await proxy.silent()
        await eventually(lambda: proxy.connections >= 5)
        assert counts.of("address:127.0.0.2") == 0
        assert (await modest.raw("GET /v1/models")).status == 200
        assert (await proxy.raw("GET /v1/models")).status == 200


# ---------------------------------------------------------------------- without limits


async def test_without_limits_one_client_may_use_all_there_is() -> None:
    settings = Settings(
        limits="off",
        max_per_client=1,
        max_starts=1,
        max_readers=1,
        max_connections=1,
        max_replies=1,
    )
    async with two_clients(settings) as (greedy, _):
        for _ in range(5):
            await greedy.connect(CHAT, body=BODY)
        await eventually(lambda: greedy.replies.running == 5)
        await eventually(lambda: greedy.app[USE].readers.total == 5)
        own = ClientLimits(running=1, starts=2, readers=3, connections=4)
        assert greedy.app[USE].limits_of(own) == NO_LIMITS


def test_a_client_may_have_limits_of_its_own() -> None:
    each = Use(Settings())
    assert each.limits_of(ClientLimits()) == ClientLimits(200, 600, 1000, 1000)
    own = ClientLimits(running=0, starts=5)
    assert each.limits_of(own) == ClientLimits(0, 5, 1000, 1000)


def test_many_readers_in_all_where_one_may_have_many() -> None:
    for readers, most in ((0, 20_000), (1, 20_000), (2000, 40_000)):
        assert Use(Settings(max_readers=readers))._max_readers == most


def test_the_headers_are_structured_fields() -> None:
    problem = TooManyRequests(retry_after=7, limit="starts", most=600, window_s=60)
    assert rate_limit_headers(problem) == {
        "RateLimit-Policy": '"starts";q=600;w=60',
        "RateLimit": '"starts";r=0;t=7',
    }


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=80))
def test_no_place_is_counted_twice_or_left_over(steps: list[tuple[str, bool]]) -> None:
    each = Use(Settings(max_readers=3))
    places: dict[str, list[Place]] = {"a": [], "b": [], "c": []}
    for account, enters in steps:
        caller = Caller(account=account, limits=each.service)
        mine = places[account]
        if enters and len(mine) == 3:
            with pytest.raises(TooManyRequests):
                each.take_place(caller)
        elif enters:
            mine.append(each.take_place(caller))
        elif mine:
            place = mine.pop()
            place.leave()
            place.leave()
        assert each.readers.total == sum(map(len, places.values()))
        assert each.readers.of(account) == len(mine)
    places.clear()  # what is forgotten is left
    mine = []
    assert (each.readers.total, len(each.readers)) == (0, 0)


def test_counts_keep_nothing_of_who_has_nothing() -> None:
    counts = OpenCounts()
    for number in range(1000):
        counts.add(f"address:{number}")
    for number in range(1000):
        counts.remove(f"address:{number}")
    assert (len(counts), counts.total) == (0, 0)
