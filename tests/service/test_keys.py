"""Whose an idempotency key and a chat's id are: one person's, or everybody's (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from redis import Redis

from chatsvc.settings import Settings
from tests.redis_server import RedisServer

from .running import Inside, Scripted, eventually, inside

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
SHORT, LONG = "k" * 15, "k" * 16
"""The longest key that is a stranger's own, and the shortest that is the same for all."""


async def who(request: web.Request) -> str | None:
    """Every request is from the user that it names."""
    return request.headers.get("X-User")


@dataclass
class Person:
    """A client at an address, who may be a user."""

    session: aiohttp.ClientSession
    headers: dict[str, str]

    async def post(self, chat: Inside, key: str, message: str = "a") -> Any:
        """Start a reply, or repeat that; what the answer says."""
        async with self.session.post(
            f"{chat.url}/api/chat?wait=0",
            json={"message": message},
            headers={
                "Accept": "application/json",
                "Idempotency-Key": key,
                **self.headers,
            },
        ) as answer:
            return await answer.json(content_type=None)

    async def turn(self, chat: Inside, chat_id: str) -> str:
        """Send a chat's next message and read the answer; the reply's id."""
        async with self.asked(chat, chat_id) as answer:
            assert (await answer.text()).endswith("data: [DONE]\n\n")
            return answer.headers["X-Reply-Id"]

    async def begin(self, chat: Inside, chat_id: str) -> str:
        """Send a chat's next message and leave before the answer's end; the reply's id.

        A chat's reply is resumed only until somebody has its end.
        """
        async with self.asked(chat, chat_id) as answer:
            return answer.headers["X-Reply-Id"]

    @asynccontextmanager
    async def asked(
        self, chat: Inside, chat_id: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a chat's next message."""
        part = {"type": "text", "text": "a"}
        message = {"id": "1", "role": "user", "parts": [part]}
        async with self.session.post(
            f"{chat.url}/api/ui",
            json={"id": chat_id, "messages": [message]},
            headers=self.headers,
        ) as answer:
            yield answer

    async def resume(self, chat: Inside, chat_id: str) -> str | None:
        """Ask for a chat's last reply; its id, or None for 204."""
        async with self.session.get(
            f"{chat.url}/api/ui/{chat_id}/stream", headers=self.headers
        ) as answer:
            assert answer.status == (200 if "X-Reply-Id" in answer.headers else 204)
            return answer.headers.get("X-Reply-Id")

    async def socket(self, chat: Inside) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket."""
        return await self.session.ws_connect(
            f"{chat.url}/ws/chat", protocols=("chatsvc.v1",), headers=self.headers
        )


@asynccontextmanager
async def person(address: str = HERE, user: str = "") -> AsyncIterator[Person]:
    """A person whose requests come from an address of the loopback interface."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Person(session, {"X-User": user} if user else {})


async def ask(ws: aiohttp.ClientWebSocketResponse, key: str, message: str = "a") -> str:
    """Start a reply by a frame, or repeat that; the reply's id, or the code of the problem."""
    await ws.send_json({"message": message, "key": key})
    first = await ws.receive_json(timeout=10)
    assert first["key"] == key
    if first.get("event") == "failed":
        return str(first["data"]["type"]).removeprefix("/problems/")
    while (await ws.receive_json(timeout=10))["data"] != "[DONE]":
        pass
    return str(first["id"].partition(":")[0])


async def test_a_strangers_short_key_is_known_at_one_address(chat: Inside) -> None:
    async with person() as one, person(ELSEWHERE) as other, person() as neighbour:
        first = (await one.post(chat, SHORT))["reply"]
        assert (await one.post(chat, SHORT))["reply"] == first
        assert (await neighbour.post(chat, SHORT))["reply"] == first
        second = (await other.post(chat, SHORT))["reply"]
        assert second != first
        assert (await other.post(chat, SHORT))["reply"] == second
        # Another request with it is refused to whoever has used it, and to nobody else.
        async with person("127.0.0.3") as third:
            assert (await third.post(chat, SHORT, "other"))["reply"] not in (
                first,
                second,
            )
        assert (await one.post(chat, SHORT, "other"))["status"] == 422


async def test_a_strangers_long_key_is_known_everywhere(chat: Inside) -> None:
    async with person() as one, person(ELSEWHERE) as other:
        for key in (LONG, str(uuid.uuid4())):
            first = (await one.post(chat, key))["reply"]
            assert (await other.post(chat, key))["reply"] == first
            ws = await other.socket(chat)
            assert await ask(ws, key) == first
            await ws.close()
        assert (await other.post(chat, LONG, "other"))["status"] == 422


async def test_a_strangers_short_key_is_known_on_one_websocket(chat: Inside) -> None:
    async with person() as one:
        posted = (await one.post(chat, "1"))["reply"]
        first, second = await one.socket(chat), await one.socket(chat)
        mine = await ask(first, "1")
        assert await ask(first, "1") == mine
        theirs = await ask(second, "1", "other")
        assert len({posted, mine, theirs}) == 3
        assert await ask(first, "1", "other") == "invalid-request"
        await first.close()
        again = await one.socket(chat)
        assert await ask(again, "1") not in (mine, theirs, posted)
        assert (await one.post(chat, "1"))["reply"] == posted


async def test_a_users_key_of_any_length_is_known_everywhere() -> None:
    async with (
        inside(Settings(pace=0), authorize=who) as chat,
        person(HERE, "ann") as here,
        person(ELSEWHERE, "ann") as there,
        person(HERE, "bob") as bob,
    ):
        for key in ("1", LONG):
            first = (await here.post(chat, key))["reply"]
            assert (await there.post(chat, key))["reply"] == first
            ws = await there.socket(chat)
            assert await ask(ws, key) == first
            assert (await bob.post(chat, key, "other"))["reply"] != first


async def test_a_key_means_the_same_on_every_node(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSVC_STORE", redis_server.database(2))
    settings, backend = Settings(pace=0), Scripted("a", asyncio.Event())
    async with (
        inside(settings, backend=backend) as chat,
        inside(settings, backend=backend) as node,
        person() as one,
        person(ELSEWHERE) as other,
    ):
        first = (await one.post(chat, SHORT))["reply"]
        assert (await one.post(node, SHORT))["reply"] == first
        assert (await other.post(node, SHORT))["reply"] != first
        shared = (await one.post(chat, LONG))["reply"]
        assert (await other.post(node, LONG))["reply"] == shared
        assert await one.begin(chat, LONG) == await other.resume(node, LONG)


async def test_long_keys_and_those_of_users_have_the_names_that_other_versions_use(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = redis_server.database(2)
    monkeypatch.setenv("CHATSVC_STORE", address)

    def name(kind: str, text: str) -> str:
        return f"chatsvc:{{0}}:{kind}:{hashlib.sha256(text.encode()).hexdigest()}"

    with Redis.from_url(address, decode_responses=True) as redis:
        redis.flushdb()
        backend = Scripted("a", asyncio.Event())
        async with inside(Settings(pace=0), backend=backend) as chat, person() as one:
            reply = (await one.post(chat, LONG))["reply"]
            assert str(redis.get(name("key", f"\0{LONG}"))).startswith(f"{reply} ")
            await one.post(chat, SHORT)
            assert redis.get(name("key", f"\0{SHORT}")) is None
            reply = await one.begin(chat, LONG)
            chat_name = hashlib.sha256(f"0:{LONG}".encode()).hexdigest()
            assert redis.get(name("name", chat_name)) == reply
        async with (
            inside(Settings(pace=0), authorize=who) as chat,
            person(HERE, "ann") as ann,
        ):
            reply = (await ann.post(chat, "1"))["reply"]
            assert str(redis.get(name("key", "ann\0001"))).startswith(f"{reply} ")


async def test_a_chat_with_a_short_id_starts_and_is_not_resumed() -> None:
    async with (
        inside(Settings(pace=0), backend=Scripted("a", asyncio.Event())) as chat,
        person() as one,
        person(ELSEWHERE) as other,
    ):
        for chat_id in ("c", SHORT, "好" * 15, "%2F" * 15):
            await one.begin(chat, chat_id)
            assert await one.resume(chat, chat_id) is None
            assert await other.resume(chat, chat_id) is None
        for chat_id in (LONG, "好" * 16, str(uuid.uuid4())):
            reply = await one.begin(chat, chat_id)
            assert await one.resume(chat, chat_id) == reply
            assert await other.resume(chat, chat_id) == reply


async def test_a_strangers_message_stops_no_reply_of_a_short_chat_id() -> None:
    gate = asyncio.Event()
    async with (
        inside(Settings(pace=0), backend=Scripted("a", gate, "b")) as chat,
        person() as one,
        person(ELSEWHERE) as other,
    ):
        turns = [asyncio.create_task(each.turn(chat, "c")) for each in (one, other)]
        await eventually(lambda: chat.replies.running == 2)
        gate.set()
        for reply in await asyncio.gather(*turns):
            assert (await chat.json("GET", f"/api/chat/{reply}"))["text"] == "ab"


async def test_a_users_chat_may_have_a_short_id() -> None:
    async with (
        inside(
            Settings(pace=0), authorize=who, backend=Scripted("a", asyncio.Event())
        ) as chat,
        person(HERE, "ann") as here,
        person(ELSEWHERE, "ann") as there,
        person(HERE, "bob") as bob,
    ):
        reply = await here.begin(chat, "c")
        assert await there.resume(chat, "c") == reply
        assert await bob.resume(chat, "c") is None


async def test_a_key_with_a_place_behind_it_is_refused(chat: Inside) -> None:
    async with person(ELSEWHERE) as one:
        assert (await one.post(chat, f"1 {HERE}"))["status"] == 422


async def test_a_node_at_a_unix_socket_knows_all_clients_as_one(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    async with inside(Settings(pace=0)) as chat:
        assert chat._runner.server is not None
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        await web.SockSite(chat._runner, listening).start()
        replies = []
        for _ in range(2):
            connector = aiohttp.UnixConnector(path)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.post(
                    "http://localhost/api/chat?wait=0",
                    data=json.dumps({"message": "a"}),
                    headers={
                        "Accept": "application/json",
                        "Content-Type": "application/json",
                        "Idempotency-Key": "1",
                    },
                ) as answer,
            ):
                replies.append((await answer.json())["reply"])
        assert replies[0] == replies[1]
