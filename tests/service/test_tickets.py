"""Tickets: what stands for a key in the URLs of EventSource and WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError, web

from chatsvc.replies import Replies
from chatsvc.settings import Settings
from chatsvc.users.identity import ADMIN, CHAT
from chatsvc.users.keys import ApiKey, KeyRing
from chatsvc.users.signatures import Purpose
from chatsvc.web import tickets
from chatsvc.web.app_keys import KEYS
from chatsvc.web.tickets import TICKET_S
from chatsvc.web.use import USE

from .api_keys import ALICE, BOB, KEY, OTHER, RING, replace_keys
from .running import (
    Inside,
    Scripted,
    done,
    events,
    eventually,
    inside,
    without_comments,
)

BEARER = f"Authorization: Bearer {KEY}"
FRIEND = "https://friend.example"
SETTINGS = Settings(pace=0, api_keys=KEY, allow_origin=(FRIEND,))
V2 = "chatsvc.v2"
SESSION = RING.signer.sign(Purpose.SESSION, ALICE.digest, issued_s=0, expires_s=2**40)
"""What a browser of alice's has as its cookie."""


@pytest.fixture
async def chat() -> AsyncIterator[Inside]:
    async with inside(SETTINGS) as service:
        replace_keys(service.app, RING)
        yield service


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let all tickets there are have expired."""

    def call() -> None:
        now = time.time()
        monkeypatch.setattr(tickets, "time", lambda: now + TICKET_S + 1)

    return call


async def ticket_for(chat: Inside, key: str = KEY) -> str:
    answer = await chat.raw("POST /api/ticket", f"Authorization: Bearer {key}")
    assert answer.status == 200
    body = json.loads(answer.body)
    assert body == {"ticket": body["ticket"], "expires_in": TICKET_S}
    ticket: str = body["ticket"]
    return ticket


def asking(ticket: str, message: str = "ab") -> str:
    return f"GET /api/chat?message={message}&ticket={ticket}"


async def socket(chat: Inside, ticket: str, **headers: str) -> ClientWebSocketResponse:
    return await chat.session.ws_connect(
        f"{chat.url}/ws/chat?ticket={ticket}", protocols=[V2], headers=headers
    )


async def refused(chat: Inside, ticket: str) -> int:
    with pytest.raises(WSServerHandshakeError) as caught:
        await socket(chat, ticket)
    return caught.value.status


async def until_end(ws: ClientWebSocketResponse, **frame: object) -> tuple[str, str]:
    """Send a frame, and return the reply's id and text; the id is empty for a refusal."""
    await ws.send_json(frame)
    text = ""
    while True:
        got = await ws.receive_json(timeout=10)
        if got.get("event") == "failed":
            return "", got["data"]["type"]
        if got["data"] == "[DONE]":
            return got["id"].partition(":")[0], text
        text += got["data"].get("text", "")


async def test_an_event_source_begins_one_reply_and_reads_it_again(
    chat: Inside, late: Any
) -> None:
    ticket = await ticket_for(chat)
    friend = f"Origin: {FRIEND}"
    answer = await chat.raw(asking(ticket), friend)
    reply = answer.reply
    whole = f"id: {reply}:0\n\n".encode() + events(reply, "ab") + done(reply)
    assert without_comments(answer.body) == whole
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    for _ in range(2):
        # An `EventSource` reconnects with the same URL, and has a cursor once anything has come.
        again = await chat.raw(asking(ticket), f"Last-Event-ID: {reply}:1")
        assert without_comments(again.body) == events(reply, "ab", 1) + done(reply)
        anew = await chat.raw(asking(ticket))
        assert anew.reply == reply
        over = await chat.raw(asking(ticket), f"Last-Event-ID: {reply}:end")
        assert over.status == 204
        by_id = await chat.raw(f"GET /api/chat/{reply}?ticket={ticket}")
        assert by_id.status == 200
        late()


async def test_a_ticket_must_be_used_in_time(chat: Inside, late: Any) -> None:
    ticket = await ticket_for(chat)
    reply = (await chat.raw("POST /api/chat", BEARER, body=b'{"message": "x"}')).reply
    late()
    assert (await chat.raw(asking(ticket))).status == 401
    assert (await chat.raw(f"GET /api/chat/{reply}?ticket={ticket}")).status == 401
    assert await refused(chat, ticket) == 401


async def test_a_ticket_begins_no_second_reply(chat: Inside) -> None:
    ticket = await ticket_for(chat)
    first = await chat.raw(asking(ticket))
    other = await chat.raw(asking(ticket, "other"))
    assert other.status == 401
    assert json.loads(other.body)["detail"] == tickets._USED
    ws = await socket(chat, ticket)
    assert await until_end(ws, message="other") == ("", "/problems/unauthorized")
    assert await until_end(ws, message="ab", key="k") == (first.reply, "ab")
    await ws.close()


async def test_of_many_requests_at_once_one_begins_a_reply() -> None:
    goes_on = asyncio.Event()
    backend = Scripted("a", goes_on)
    async with inside(SETTINGS, backend=backend) as chat:
        ticket = await ticket_for(chat)
        many = [
            asyncio.create_task(chat.raw(asking(ticket, f"m{n % 3}")))
            for n in range(12)
        ]
        # Those with another message are refused, whichever comes first.
        finished, _ = await asyncio.wait(
            many, timeout=10, return_when=asyncio.FIRST_COMPLETED
        )
        assert finished
        await eventually(lambda: sum(task.done() for task in many) == 8)
        goes_on.set()
        answers = await asyncio.gather(*many)
        assert backend.calls == 1
        assert len({a.reply for a in answers if a.status == 200}) == 1
        assert {a.status for a in answers} <= {200, 401, 422}


async def test_a_ticket_reads_one_reply(chat: Inside, late: Any) -> None:
    body = b'{"message": "ab"}'
    first, second = [
        (await chat.raw("POST /api/chat", BEARER, body=body)).reply for _ in range(2)
    ]
    ticket = await ticket_for(chat)
    line = f"GET /api/chat/{first}?ticket={ticket}"
    assert without_comments((await chat.raw(line)).body).endswith(done(first))
    late()
    again = await chat.raw(line, f"Last-Event-ID: {first}:1")
    assert without_comments(again.body) == events(first, "ab", 1) + done(first)
    assert (await chat.raw(line.replace(first, second))).status == 401
    assert (await chat.raw(asking(ticket), f"Last-Event-ID: {second}:1")).status == 401
    assert (await chat.raw(asking(ticket))).status == 401
    # A ticket is a user's: it reads nobody else's replies.
    bob = await ticket_for(chat, OTHER)
    assert (await chat.raw(f"GET /api/chat/{first}?ticket={bob}")).status in (401, 404)


async def test_nobody_else_s_reply_becomes_a_ticket_s(chat: Inside) -> None:
    body = b'{"message": "ab"}'
    reply = (await chat.raw("POST /api/chat", BEARER, body=body)).reply
    bob = await ticket_for(chat, OTHER)
    assert (await chat.raw(f"GET /api/chat/{reply}?ticket={bob}")).status == 404
    assert (await chat.raw(asking(bob))).status == 200


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let two requests at once both be answered what their ticket has before either goes on."""

    def call() -> None:
        recall, both = Replies.recall_name, asyncio.Barrier(2)

        async def recall_both(self: Replies, name: str) -> str | None:
            found = await recall(self, name)
            async with asyncio.timeout(10):
                await both.wait()
            return found

        monkeypatch.setattr(Replies, "recall_name", recall_both)

    return call


async def test_a_ticket_reads_one_of_two_replies_at_once(
    chat: Inside, together: Any
) -> None:
    body = b'{"message": "ab"}'
    replies = [
        (await chat.raw("POST /api/chat", BEARER, body=body)).reply for _ in range(2)
    ]
    ticket = await ticket_for(chat)
    together()
    answers = await asyncio.gather(
        *(chat.raw(f"GET /api/chat/{reply}?ticket={ticket}") for reply in replies)
    )
    assert sorted(answer.status for answer in answers) == [200, 401]
    assert not chat.app[USE].readers.total


async def test_a_ticket_begins_one_of_two_replies_at_once(
    chat: Inside, together: Any
) -> None:
    ticket = await ticket_for(chat)
    sockets = [await socket(chat, ticket) for _ in range(2)]
    together()
    got = await asyncio.gather(
        *(until_end(ws, message="ab", key=f"k{n}") for n, ws in enumerate(sockets))
    )
    assert sorted(text for _, text in got) == ["/problems/unauthorized", "ab"]
    for ws in sockets:
        await ws.close()
    assert not chat.app[USE].readers.total


async def test_a_socket_has_one_reply_which_it_may_stop() -> None:
    goes_on = asyncio.Event()
    async with inside(SETTINGS, backend=Scripted("ab", goes_on)) as chat:
        ticket = await ticket_for(chat)
        ws = await socket(chat, ticket, Origin=FRIEND)
        await ws.send_json({"message": "x", "key": "k"})
        begun = await ws.receive_json(timeout=10)
        reply = begun["id"].partition(":")[0]
        assert await until_end(ws, message="y") == ("", "/problems/unauthorized")
        # A later connection reads it and does no more.
        later = await socket(chat, ticket)
        assert await until_end(later, stop=reply) == ("", "/problems/unauthorized")
        await ws.send_json({"stop": reply})
        assert await until_end(later, read=reply) == (reply, "a")
        await ws.close()
        await later.close()


async def test_the_seed_s_socket_has_one_reply(chat: Inside) -> None:
    url = f"{chat.url}/ws/chat?ticket={await ticket_for(chat)}"
    ws = await chat.session.ws_connect(url)
    await ws.send_json({"message": "a"})
    assert [await ws.receive_str(timeout=10) for _ in range(2)] == ["a", "[DONE]"]
    await ws.send_json({"message": "b"})
    await ws.receive(timeout=10)
    assert ws.close_code == 4401


async def test_a_ticket_is_good_where_a_browser_sends_nothing_else(
    chat: Inside,
) -> None:
    ticket = await ticket_for(chat)
    body = b'{"message": "ab"}'
    for line in (
        "POST /api/chat",
        "POST /api/ticket",
        "POST /api/ui",
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /api/ui/0123456789abcdef/stream",
    ):
        answer = await chat.raw(f"{line}?ticket={ticket}", body=body)
        assert answer.status == 401, line
    assert (await chat.raw(f"GET /?ticket={ticket}")).status == 303
    reply = (await chat.raw(asking(ticket))).reply
    answer = await chat.raw(f"POST /api/chat/{reply}/stop?ticket={ticket}")
    assert answer.status == 401


async def test_what_is_no_ticket(chat: Inside) -> None:
    for text in ("", "x", "%C3%A9", SESSION, await ticket_for(chat) + "A"):
        assert (await chat.raw(asking(text))).status == 401
    # A key in the header wins over the ticket.
    assert (await chat.raw(asking("x"), BEARER)).status == 200


async def test_a_ticket_ends_with_its_key(chat: Inside) -> None:
    fresh, used = await ticket_for(chat), await ticket_for(chat)
    reply = (await chat.raw(asking(used))).reply
    replace_keys(chat.app, KeyRing([BOB]))
    assert (await chat.raw(asking(fresh))).status == 401
    again = await chat.raw(asking(used), f"Last-Event-ID: {reply}:1")
    assert again.status == 401


async def test_a_key_may_be_withdrawn_while_the_store_is_asked_for_its_ticket(
    chat: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, recall = await ticket_for(chat), Replies.recall_name

    async def recall_late(self: Replies, name: str) -> str | None:
        found = await recall(self, name)
        replace_keys(chat.app, KeyRing([BOB]))
        return found

    monkeypatch.setattr(Replies, "recall_name", recall_late)
    assert await refused(chat, fresh) == 401


async def test_a_socket_ends_with_the_key_of_its_ticket(chat: Inside) -> None:
    alice, bob = [
        await socket(chat, await ticket_for(chat, key)) for key in (KEY, OTHER)
    ]
    replace_keys(chat.app, KeyRing([BOB]))
    await alice.receive(timeout=10)
    assert alice.close_code == 4401
    assert (await until_end(bob, message="ab"))[1] == "ab"


async def test_a_session_gets_a_ticket_and_pages_of_other_origins_may(
    chat: Inside,
) -> None:
    cookie = f"Cookie: chatsvc={SESSION}"
    assert (await chat.raw("POST /api/ticket", cookie)).status == 200
    evil = "Origin: https://evil.example"
    assert (await chat.raw("POST /api/ticket", cookie, evil)).status == 403
    assert (
        await chat.raw("POST /api/ticket", BEARER, f"Origin: {FRIEND}")
    ).status == 200
    assert (await chat.raw("POST /api/ticket")).status == 401


async def test_a_ticket_has_no_more_than_the_right_to_chat(chat: Inside) -> None:
    both = ApiKey("alice", ALICE.digest, frozenset({CHAT, ADMIN}))
    replace_keys(chat.app, KeyRing([both]))
    keys = chat.app[KEYS]
    assert keys is not None
    identity = await tickets.holder_of(chat.app, keys, await ticket_for(chat))
    assert (identity.user, identity.key) == ("alice", ALICE.digest)
    assert identity.scopes == {CHAT}


@pytest.mark.any_store
async def test_without_keys_there_are_no_tickets() -> None:
    async def user(request: web.Request) -> str | None:
        return "alice"

    async with inside() as chat:
        assert (await chat.raw("POST /api/ticket")).status == 404
        assert (await chat.raw(asking("x"))).status == 200
    async with inside(authorize=user) as chat:
        assert (await chat.raw("POST /api/ticket")).status == 404
        assert (await chat.raw(asking("x"))).status == 200


@pytest.mark.any_store
async def test_no_log_has_a_ticket(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with inside(SETTINGS, access=True, backend=Scripted(OSError("x"))) as chat:
        ticket = await ticket_for(chat)
        for _ in range(2):
            await chat.raw(asking(ticket))
        await refused(chat, f"{ticket}x")
        await chat.raw(f"GET /api/chat/x?ticket={ticket}")
        await chat.raw(f"GET /nowhere?ticket={ticket}")
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "/api/chat" in logged
    assert ticket[:20] not in logged


async def test_another_node_knows_the_ticket_and_its_reply(
    store: str, late: Any
) -> None:
    if store == "memory":
        pytest.skip("one node has that store alone")
    async with inside(SETTINGS) as one, inside(SETTINGS) as two:
        ticket = await ticket_for(one)
        reply = (await two.raw(asking(ticket))).reply
        late()
        again = await one.raw(asking(ticket), f"Last-Event-ID: {reply}:1")
        assert without_comments(again.body) == events(reply, "ab", 1) + done(reply)
        assert (await one.raw(asking(ticket, "other"))).status == 401
