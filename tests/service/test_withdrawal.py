"""What ends with a key that is withdrawn, on one node and on several (PROTOCOL.md section 9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from redis import Redis

from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.replies import Reply
from chatsvc.settings import Settings
from chatsvc.stores.memory import MemoryStore
from chatsvc.stores.redis.store import RedisStore
from chatsvc.web.disconnects import CLIENTS

from ..redis_server import RedisServer
from .api_keys import KeysFile, authorization, bearer
from .running import Inside, Scripted, eventually, inside, parse
from .test_mounted import theirs
from .test_ui import turn

LONG = "x" * 30_000
BODY = json.dumps({"message": LONG}).encode()
COMPLETION = {"messages": [{"role": "user", "content": LONG}], "stream": True}
REST = ("bob", "operator")
"""The keys that are left when alice has none."""


class Operator:
    """Whoever keeps the file of a service's keys."""

    def __init__(self, chat: Inside, file: KeysFile, settings: Settings) -> None:
        self.chat = chat
        self._file = file
        self._settings = settings

    def leaves(self, *names: str) -> None:
        """Let some keys be good, and no others."""
        self._file.has(*names)
        self._file.read_again(self.chat.app, self._settings)


@asynccontextmanager
async def keyed(
    folder: Path, **arguments: Any
) -> AsyncIterator[tuple[Inside, Operator]]:
    """A service whose replies take minutes, and its operator."""
    folder.mkdir(exist_ok=True)
    file = KeysFile(folder)
    settings = file.settings(pace=0.01)
    async with inside(settings, **arguments) as chat:
        yield chat, Operator(chat, file, settings)


async def begin(
    chat: Inside,
    name: str = "alice",
    line: str = "POST /api/chat",
    accept: str = "text/event-stream",
    body: bytes = BODY,
    version: str = "HTTP/1.1",
) -> tuple[asyncio.StreamReader, bytes, Reply]:
    """Begin a reply, or to read one; give its stream, what has come of it, and the reply."""
    headers = (bearer(name), f"Accept: {accept}")
    reader, _ = await chat.connect(line, *headers, body=body, version=version)
    received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    received += await asyncio.wait_for(reader.readuntil(b"x"), 10)
    reply = received.decode().partition("X-Reply-Id: ")[2][:22]
    return reader, received, chat.opened[reply]


async def rest_of(reader: asyncio.StreamReader) -> bytes | None:
    """What else comes until the connection closes; None if it is reset."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return None


async def was_stopped(reply: Reply) -> None:
    """Wait until a reply is stopped."""
    await eventually(lambda: reply.end is not None)
    assert reply.end is not None
    assert (reply.end.state, reply.end.finish_reason) == ("stopped", "stopped")


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize(
    ("line", "accept", "body"),
    [
        ("POST /api/chat", "text/event-stream", BODY),
        ("POST /api/chat", "text/plain", BODY),
        ("POST /api/chat", "application/x-ndjson", BODY),
        ("POST /api/chat?view=parts", "text/event-stream", BODY),
        ("POST /api/ui", "text/event-stream", turn(LONG)),
        (
            "POST /v1/chat/completions",
            "text/event-stream",
            json.dumps(COMPLETION).encode(),
        ),
    ],
)
async def test_a_body_breaks_off_and_its_reply_is_stopped(
    tmp_path: Path, line: str, accept: str, body: bytes, version: str
) -> None:
    async with keyed(tmp_path) as (chat, operator):
        reader, received, reply = await begin(
            chat, "alice", line, accept, body, version
        )
        operator.leaves(*REST)
        rest = await rest_of(reader)
        if rest is not None:
            received += rest
            assert b"[DONE]" not in received
            # Bare text without chunks can only be reset; the others have an end of their own.
            assert accept != "text/plain" or version == "HTTP/1.1"
            assert version == "HTTP/1.0" or not parse(received).complete
        await was_stopped(reply)
        resumed = await chat.raw(f"GET /api/chat/{reply.id}", bearer("alice"))
        assert resumed.status == 401
        del reply
        await eventually(lambda: not chat.replies.known)


@pytest.mark.parametrize("protocols", [(), ("chatsvc.v1",), ("chatsvc.v2",)])
async def test_a_websocket_closes_with_4401(
    tmp_path: Path, protocols: tuple[str, ...]
) -> None:
    async with keyed(tmp_path) as (chat, operator):
        headers = authorization("alice")
        url = chat.url + "/ws/chat"
        async with (
            chat.session.ws_connect(url, protocols=protocols, headers=headers) as busy,
            chat.session.ws_connect(url, protocols=protocols, headers=headers) as idle,
        ):
            await busy.send_json({"message": LONG})
            await busy.receive(timeout=5)
            [reply] = chat.opened.values()
            operator.leaves(*REST)
            for socket in (busy, idle):
                while (await socket.receive(timeout=5)).type is WSMsgType.TEXT:
                    pass
                assert socket.close_code == 4401
        await was_stopped(reply)


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("query", ["", "?wait=30"])
async def test_who_waits_for_an_answer_gets_none(
    tmp_path: Path, query: str, mounted: bool
) -> None:
    backend = Scripted(asyncio.Event())
    app = theirs() if mounted else None
    async with keyed(tmp_path, backend=backend, app=app) as (chat, operator):
        path = f"{'/chat' if mounted else ''}/api/chat"
        headers = (bearer("alice"), "Accept: application/json")
        reader, _ = await chat.connect(f"POST {path}{query}", *headers, body=BODY)
        await eventually(lambda: backend.open)
        [reply] = chat.opened.values()
        operator.leaves(*REST)
        assert not await rest_of(reader)
        await was_stopped(reply)
        await eventually(lambda: not backend.open)


async def test_what_rests_on_the_users_other_key_goes_on(tmp_path: Path) -> None:
    async with keyed(tmp_path) as (chat, operator):
        first, _, reply = await begin(chat, "alice")
        again = f"GET /api/chat/{reply.id}"
        second, _, _ = await begin(chat, "alices-second", again)
        others, _, bobs = await begin(chat, "bob")
        operator.leaves("alices-second", *REST)
        assert b"[DONE]" not in (await rest_of(first) or b"")
        assert (await chat.raw(again, bearer("alice"))).status == 401
        for reader in (second, others):
            assert await asyncio.wait_for(reader.readuntil(b"x"), 10)
        assert reply.end is bobs.end is None


@pytest.mark.any_store
async def test_a_user_whose_key_comes_back_finds_the_replies_again(
    tmp_path: Path,
) -> None:
    async with keyed(tmp_path) as (chat, operator):
        _, _, reply = await begin(chat)
        operator.leaves(*REST)
        await was_stopped(reply)
        operator.leaves("alice", *REST)
        answer = await chat.raw(f"GET /api/chat/{reply.id}", bearer("alice"))
        assert answer.status == 200
        _, _, another = await begin(chat)
        assert another.end is None


@pytest.mark.any_store
async def test_a_user_whom_the_application_knows_as_well_has_not_ended(
    tmp_path: Path,
) -> None:
    async def authorize(request: web.Request) -> str | None:
        return request.query.get("who")

    async with keyed(tmp_path, authorize=authorize) as (chat, operator):
        reader, _, reply = await begin(chat)
        operator.leaves(*REST)
        assert b"[DONE]" not in (await rest_of(reader) or b"")
        _, _, another = await begin(chat, line="POST /api/chat?who=alice")
        assert reply.end is another.end is None


@pytest.mark.any_store
async def test_keys_that_stay_lose_nothing_when_they_are_read_again(
    tmp_path: Path,
) -> None:
    async with keyed(tmp_path) as (chat, operator):
        reader, _, reply = await begin(chat)
        operator.leaves("alice")
        operator.leaves("alice", *REST)
        assert await asyncio.wait_for(reader.readuntil(b"x"), 10)
        assert reply.end is None


# ---------------------------------------------------------------------- at the same moment


@pytest.fixture
def shared(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the services of a test share a store."""
    address = redis_server.database(2)
    with Redis.from_url(address) as redis:
        redis.flushdb()
    monkeypatch.setenv("CHATSVC_STORE", address)


class Gate(asyncio.Event):
    """What each store waits for before it creates a reply; `waiting` counts those."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.created: list[str] = []


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Have all replies wait before they are created."""
    gate = Gate()

    def close(kind: type[MemoryStore | RedisStore]) -> None:
        create = kind.create

        async def create_later(self: Any, *given: Any) -> str:
            gate.waiting += 1
            await gate.wait()
            gate.created.append(await create(self, *given))
            return gate.created[-1]

        monkeypatch.setattr(kind, "create", create_later)

    close(MemoryStore)
    close(RedisStore)
    return gate


@pytest.mark.any_store
@pytest.mark.usefixtures("shared")
async def test_a_reply_that_is_being_created_is_not_written(
    tmp_path: Path, gate: Gate
) -> None:
    backend = Scripted("never")
    async with keyed(tmp_path, backend=backend) as (chat, operator):
        reader, _ = await chat.connect("POST /api/chat", bearer("alice"), body=BODY)
        await eventually(lambda: gate.waiting)
        operator.leaves(*REST)
        assert not await rest_of(reader)
        gate.set()
        await eventually(lambda: gate.created)
        await was_stopped(await chat.replies.open(gate.created[0], user="alice"))
        await eventually(lambda: not chat.replies.running and not chat.replies.known)
        assert backend.calls == 0


async def test_a_websocket_gets_no_more_while_its_last_frame_waits_for_the_store(
    tmp_path: Path, gate: Gate
) -> None:
    async with keyed(tmp_path) as (chat, operator):
        gate.set()
        _, _, reply = await begin(chat)
        gate.clear()
        async with chat.session.ws_connect(
            chat.url + "/ws/chat",
            protocols=("chatsvc.v1",),
            headers=authorization("alice"),
        ) as socket:
            await socket.send_json({"read": reply.id, "after": 0})
            await socket.receive(timeout=5)
            await socket.send_json({"message": "another"})
            await eventually(lambda: gate.waiting == 2)
            # The reply goes on, for the user has another key.
            operator.leaves("alices-second", *REST)
            await eventually(lambda: not reply.readers)
            assert reply.end is None
            gate.set()
            while (await socket.receive(timeout=5)).type is WSMsgType.TEXT:
                pass
            assert socket.close_code == 4401


@pytest.mark.any_store
async def test_a_reply_is_stopped_once_there_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.replies.replies.STOP_RETRY_S", 0.01)
    async with keyed(tmp_path) as (chat, operator):
        _, _, reply = await begin(chat)
        store = chat.replies.store
        finish, refused = store.finish, 0

        async def finish_at_last(log: Any, end: End) -> bool:
            nonlocal refused
            if refused < 3:
                refused += 1
                raise StoreUnavailable
            return await finish(log, end)

        monkeypatch.setattr(store, "finish", finish_at_last)
        operator.leaves(*REST)
        await was_stopped(reply)
        assert refused == 3


@pytest.mark.any_store
async def test_a_whole_answer_on_its_way_breaks_off(tmp_path: Path) -> None:
    file = KeysFile(tmp_path)
    settings = file.settings(pace=0, max_message=8 * 1024 * 1024, max_reply=2**23)
    async with inside(settings, send_buffer=4096) as chat:
        body = json.dumps({"message": "x" * 4_000_000}).encode()
        headers = (bearer("alice"), "Accept: application/json")
        reader, _ = await chat.connect("POST /api/chat", *headers, body=body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        await eventually(lambda: chat.app[CLIENTS]._keys)
        file.has(*REST)
        file.read_again(chat.app, settings)
        rest = await rest_of(reader)
        length = int(parse(head).headers["Content-Length"])
        assert rest is None or len(rest) < length
        await eventually(lambda: not chat.app[CLIENTS]._keys)


# ---------------------------------------------------------------------- several nodes


@pytest.mark.any_store
@pytest.mark.usefixtures("shared")
async def test_the_owner_has_read_the_keys_again_and_the_reader_not_yet(
    tmp_path: Path,
) -> None:
    async with (
        keyed(tmp_path / "1") as (owner, of_owner),
        keyed(tmp_path / "2") as (other, of_other),
    ):
        _, _, reply = await begin(owner)
        reader, _, there = await begin(other, "alice", f"GET /api/chat/{reply.id}")
        of_owner.leaves(*REST)
        await was_stopped(there)
        # To the node that has yet to read its keys again, the reply was stopped as by a click.
        assert await asyncio.wait_for(reader.readuntil(b"[DONE]\n\n"), 10)
        again = f"GET /api/chat/{reply.id}"
        assert (await owner.raw(again, bearer("alice"))).status == 401
        assert (await other.raw(again, bearer("alice"))).status == 200
        of_other.leaves(*REST)
        assert (await other.raw(again, bearer("alice"))).status == 401


@pytest.mark.any_store
@pytest.mark.usefixtures("shared")
async def test_the_reader_has_read_the_keys_again_and_the_owner_not_yet(
    tmp_path: Path,
) -> None:
    async with (
        keyed(tmp_path / "1") as (owner, _),
        keyed(tmp_path / "2") as (other, of_other),
    ):
        _, _, reply = await begin(owner)
        reader, _, _ = await begin(other, "alice", f"GET /api/chat/{reply.id}")
        of_other.leaves(*REST)
        assert b"[DONE]" not in (await rest_of(reader) or b"")
        await was_stopped(reply)
        await eventually(lambda: not owner.replies.running)


@pytest.mark.any_store
@pytest.mark.usefixtures("shared")
async def test_the_reply_of_a_user_who_has_ended_is_not_taken_over(
    tmp_path: Path,
) -> None:
    async with keyed(tmp_path / "2") as (other, of_other):
        async with keyed(tmp_path / "1") as (owner, _):
            _, _, reply = await begin(owner)
            of_other.leaves(*REST)
            # The node leaves, and releases the reply: an echo can be carried on elsewhere.
            await owner.replies.drain(0)
        there = await other.replies.open(reply.id, user="alice")
        await was_stopped(there)
        assert not other.replies.running
