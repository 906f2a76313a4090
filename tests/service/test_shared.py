"""Share links: one reply and its question to read, and nothing else (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from chatsvc.model import Reasoning
from chatsvc.settings import Settings

from .running import (
    HARD,
    Answer,
    Inside,
    Scripted,
    done,
    events,
    inside,
    without_comments,
)

ANN = {"Authorization": "ann"}


async def authorize(request: web.Request) -> str | None:
    """A user is whoever says so."""
    return request.headers.get("Authorization")


class Shared(Inside):
    """A service, a reply in it, and the reply's token; `user` are the headers of its user."""

    user: dict[str, str]
    reply: str
    token: str

    async def shared(self, *headers: str, tail: str = "") -> Answer:
        """An answer about the reply to who has the token alone; it does not say the id."""
        answer = await self.raw(f"GET /api/shared/{self.token}{tail}", *headers)
        assert self.reply.encode() not in answer.body
        assert self.reply not in str(CIMultiDict(answer.headers))
        if answer.status < 400:
            assert answer.headers["X-Reply-Id"] == self.token
        return answer

    async def post(self, path: str, **headers: str) -> tuple[int, Any]:
        """POST nothing, and return the status and the JSON."""
        async with self.session.post(self.url + path, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None


@asynccontextmanager
async def sharing(
    user: dict[str, str], message: str = HARD, **arguments: Any
) -> AsyncIterator[Shared]:
    """Run a service with or without users, and share a reply in it."""
    if user:
        arguments["authorize"] = authorize
    async with inside(Settings(pace=0), **arguments) as chat:
        chat.__class__ = Shared
        assert isinstance(chat, Shared)
        chat.user = user
        chat.reply = await chat.start(message, **user)
        status, found = await chat.post(f"/api/chat/{chat.reply}/share", **user)
        assert status == 200
        assert found.keys() == {"token", "path"}
        chat.token = found["token"]
        assert found["path"] == f"/api/shared/{chat.token}"
        yield chat


@pytest.fixture(params=[{}, ANN], ids=["strangers", "users"])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    async with sharing(request.param) as shared:
        yield shared


def renamed(chat: Shared, body: bytes) -> bytes:
    """A body that the reply's user gets, with the token in the id's place."""
    return body.replace(chat.reply.encode(), chat.token.encode())


KINDS = {
    "events": "text/event-stream",
    "lines": "application/x-ndjson",
    "json": "application/json",
    "text": "text/plain",
    "page": "text/html",
}


@pytest.mark.parametrize("view", ["", "?view=parts"])
@pytest.mark.parametrize("accept", KINDS.values(), ids=KINDS)
async def test_a_shared_reply_is_as_its_user_gets_it(
    chat: Shared, accept: str, view: str
) -> None:
    headers = [f"{name}: {value}" for name, value in chat.user.items()]
    await chat.shared(
        "Accept: text/plain"
    )  # to its end: a snapshot is of what there is
    theirs = await chat.raw(
        f"GET /api/chat/{chat.reply}{view}", f"Accept: {accept}", *headers
    )
    found = await chat.shared(f"Accept: {accept}", tail=view)
    assert found.status == theirs.status
    assert without_comments(found.body) == without_comments(renamed(chat, theirs.body))
    assert found.headers["Content-Type"] == theirs.headers["Content-Type"]
    assert found.headers["Cache-Control"] == theirs.headers["Cache-Control"]


async def test_a_reading_is_resumed_by_the_tokens_cursors(chat: Shared) -> None:
    for after in range(0, len(HARD), 7):
        whole = events(chat.token, HARD, after) + done(chat.token)
        for found in (
            await chat.shared(tail=f"?after={after}"),
            await chat.shared(f"Last-Event-ID: {chat.token}:{after}"),
        ):
            assert without_comments(found.body) == whole
    ended = await chat.shared(f"Last-Event-ID: {chat.token}:end")
    assert (ended.status, ended.body) == (204, b"")
    wrong = await chat.raw(f"GET /api/shared/{chat.token}", f"Last-Event-ID: {chat.reply}:1")  # fmt: skip
    assert json.loads(wrong.body)["type"] == "/problems/bad-cursor"
    past = await chat.shared(tail="?after=9999")
    assert json.loads(past.body)["type"] == "/problems/cursor-past-end"


async def test_its_question(chat: Shared) -> None:
    answer = await chat.shared(tail="/question")
    assert json.loads(answer.body) == {"question": HARD}


async def test_the_question_is_the_last_that_a_user_wrote(chat: Shared) -> None:
    turns = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "text", "text": "wo"}]},
        {"role": "assistant", "content": "three"},
    ]  # fmt: skip
    for messages, question in ((turns, "two"), (turns[2:], None)):
        body = json.dumps({"messages": messages}).encode()
        headers = [f"{name}: {value}" for name, value in chat.user.items()]
        chat.reply = (await chat.raw("POST /api/chat", *headers, body=body)).reply
        _, found = await chat.post(f"/api/chat/{chat.reply}/share", **chat.user)
        chat.token = found["token"]
        answer = await chat.shared(tail="/question")
        assert json.loads(answer.body) == {"question": question}


async def test_a_token_can_do_nothing_else(chat: Shared) -> None:
    token, body = chat.token, json.dumps({"message": "x"}).encode()
    user = [f"{name}: {value}" for name, value in chat.user.items()]
    for line, *more in (
        (f"GET /api/chat/{token}",),
        (f"POST /api/chat/{token}/stop",),
        (f"POST /api/chat/{token}/share",),
        (f"POST /api/chat/{token}/unshare",),
        ("POST /api/chat", f"Last-Event-ID: {token}:0"),
        ("GET /api/chat", f"Last-Event-ID: {token}:0"),
    ):
        answer = await chat.raw(line, *user, *more, body=body)
        assert (answer.status, line) == (404, line)
    for line in ("POST", "DELETE", "PUT"):
        answer = await chat.raw(f"{line} /api/shared/{token}", *user, body=body)
        assert answer.status in (404, 405)
    stop = await chat.raw(f"POST /api/shared/{token}/stop", *user)
    assert stop.status == 404
    for other in ("x" * 22, chat.reply, "short", "%F0%9F", token[:-1]):
        answer = await chat.raw(f"GET /api/shared/{other}")
        assert answer.status == 404
        assert json.loads(answer.body)["type"] == "/problems/reply-not-found"


async def test_a_link_is_the_same_until_it_is_withdrawn(chat: Shared) -> None:
    share = f"/api/chat/{chat.reply}/share"
    _, again = await chat.post(share, **chat.user)
    assert again["token"] == chat.token
    for _ in range(2):
        assert await chat.post(f"/api/chat/{chat.reply}/unshare", **chat.user) == (204, None)  # fmt: skip
        gone = await chat.raw(f"GET /api/shared/{chat.token}")
        assert gone.status == 404
    question = await chat.raw(f"GET /api/shared/{chat.token}/question")
    assert question.status == 404
    _, anew = await chat.post(share, **chat.user)
    assert anew["token"] != chat.token


@pytest.mark.parametrize("act", ["share", "unshare"])
async def test_who_may_not_read_a_reply_may_not_share_it(act: str) -> None:
    async with sharing(ANN) as chat:
        path = f"/api/chat/{chat.reply}/{act}"
        assert (await chat.post(path))[0] == 401
        status, problem = await chat.post(path, Authorization="bob")
        assert (status, problem["type"]) == (404, "/problems/reply-not-found")
        assert (await chat.shared()).status == 200
        status, problem = await chat.post(f"/api/chat/{'x' * 22}/{act}", **ANN)
        assert status == 404
        # Another user, or one who is unknown, reads by the token as anybody does.
        assert (await chat.shared("Authorization: bob")).status == 200


async def test_a_running_reply_is_followed_by_its_link() -> None:
    go = asyncio.Event()
    async with sharing({}, backend=Scripted("ab\n", go, "c")) as chat:
        reader, writer = await chat.connect(f"GET /api/shared/{chat.token}")
        begun = await reader.readuntil(f"id: {chat.token}:3\ndata:\ndata:\n\n".encode())
        polled = await chat.shared("Accept: application/json", tail="?after=0")
        assert json.loads(polled.body) == {
            "reply": chat.token,
            "state": "running",
            "finish_reason": None,
            "after": 0,
            "text": "ab\n",
            "next": 3,
        }
        assert json.loads((await chat.shared(tail="/question")).body)["question"] == HARD  # fmt: skip
        go.set()
        rest = await reader.readuntil(done(chat.token))
        assert chat.reply.encode() not in begun + rest
        writer.close()


async def test_a_failed_reply_does_not_say_its_id() -> None:
    script = Scripted("ab", ValueError("broken"))
    async with sharing({}, backend=script) as chat:
        for accept in KINDS.values():
            answer = await chat.shared(f"Accept: {accept}")
            assert answer.status == 200
        polled = await chat.shared("Accept: application/json", tail="?view=parts&wait=1")  # fmt: skip
        assert json.loads(polled.body)["state"] == "failed"


async def test_a_link_ends_with_its_reply() -> None:
    go = asyncio.Event()
    async with inside(Settings(keep=0.2), backend=Scripted("hello", go)) as chat:
        reply = await chat.start()
        found = await chat.json("POST", f"/api/chat/{reply}/share")
        path = f"/api/shared/{found['token']}"
        polled = await chat.raw(f"GET {path}?wait=0", "Accept: application/json")
        assert polled.status == 200
        go.set()
        while (answer := await chat.raw(f"GET {path}")).status == 200:
            pass
        assert json.loads(answer.body)["type"] == "/problems/reply-expired"
        assert (await chat.raw(f"GET {path}/question")).status == 410
        async with chat.session.post(f"{chat.url}/api/chat/{reply}/share") as response:
            assert response.status == 410


@pytest.mark.any_store
async def test_below_a_prefix() -> None:
    async with inside(Settings(pace=0), app=web.Application()) as chat:
        answer = await chat.raw("POST /chat/api/chat", body=b'{"message":"hi"}')
        share = await chat.raw(f"POST /chat/api/chat/{answer.reply}/share")
        path = json.loads(share.body)["path"]
        assert re.fullmatch(r"/chat/api/shared/[\w-]{22}", path)
        shared = await chat.raw(f"GET {path}", "Accept: text/plain")
        assert shared.body == b"hi"


@pytest.mark.any_store
@pytest.mark.parametrize("tail", ["", "/question", "/question/", "/x"])
async def test_the_log_has_no_more_than_a_tokens_beginning(
    tail: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chatsvc.access")
    async with inside(access=True) as chat:
        for token in ("0123456789abcdefghijkl", "0123456789abcdef"):
            caplog.clear()
            await chat.raw(f"GET /api/shared/{token}{tail}")
            async with asyncio.timeout(10):
                while not caplog.records:  # the line follows the answer
                    await asyncio.sleep(0)
            [record] = caplog.records
            path = record.data["path"]  # type: ignore[attr-defined]
            assert path.startswith("/api/shared/012345…")
            assert token[8:] not in path


async def thinks(messages: Any) -> AsyncIterator[Any]:
    """A reply with a part beside its text."""
    yield Reasoning("hm")
    yield "so"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "application/json"])  # fmt: skip
async def test_the_parts_of_a_shared_reply(accept: str) -> None:
    async with sharing(ANN, backend=thinks) as chat:
        await chat.shared("Accept: text/plain")  # to its end
        found = await chat.shared(f"Accept: {accept}", tail="?view=parts")
        assert b"hm" in found.body
        assert chat.token.encode() in found.body
        later = await chat.shared(f"Accept: {accept}", tail="?view=parts&after=@3")
        assert b'"hm"' not in later.body
