"""Text, whole JSON, snapshots, long polls, stop, and keys (PROTOCOL.md sections 2 and 7)."""

from __future__ import annotations

import asyncio
import json
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.settings import Settings
from chatsvc.web.negotiation import negotiate

from .running import (
    HARD,
    Inside,
    Scripted,
    eventually,
    inside,
    without_comments,
)

JSON = "Accept: application/json"
TEXT = "Accept: text/plain"


def body(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/event-stream", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("", "text/event-stream"),
        ("text/plain", "text/plain"),
        ("text/*", "text/event-stream"),
        ("application/json", "application/json"),
        ("text/plain;q=0.5, application/json", "application/json"),
        ("text/html, text/plain;q=0.1", "text/plain"),
        ("TEXT/PLAIN", "text/plain"),
        ("text/event-stream;q=0, text/plain", "text/plain"),
        # What is named itself is not what a wildcard stands for.
        ("text/event-stream;q=0, */*", "text/plain"),
        ("*/*, text/event-stream;q=0", "text/plain"),
        ("text/*;q=0, */*", "application/json"),
        ("text/plain;q=0.5, text/event-stream;q=0.2, */*;q=0.1", "text/plain"),
        ("text/plain;Q=0.1, application/json;q=0.2", "application/json"),
        ("text/plain;q=nan, */*;q=0.1", "text/event-stream"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("application/*", "application/json"),
        ("application/json;q=0, application/*", "application/x-ndjson"),
        ("text/plain;q=x", "application/problem+json"),
        ("text/html", "application/problem+json"),
    ],
)
@pytest.mark.any_store
async def test_accept_chooses(chat: Inside, accept: str, kind: str) -> None:
    headers = [f"Accept: {accept}"] if accept else []
    answer = await chat.raw("POST /api/chat", *headers, body=body("hi"))
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert (answer.status == 406) == (kind == "application/problem+json")


@pytest.mark.any_store
async def test_accept_may_come_in_several_lines(chat: Inside) -> None:
    """RFC 9110 section 5.3: they are one list."""
    lines = ("Accept: text/html", "Accept: text/plain")
    answer = await chat.raw("POST /api/chat", *lines, body=body("hi"))
    assert answer.body == b"hi"


KINDS = ("a/x", "a/y", "b/x")
_named = st.sampled_from([*KINDS, "c/z", "a/*", "b/*", "*/*"])


@given(st.dictionaries(_named, st.sampled_from([0, 0.1, 0.5, 1])))
@pytest.mark.any_store
def test_the_most_specific_range_of_accept_counts(qualities: dict[str, float]) -> None:
    def quality(kind: str) -> float:
        ranges = (kind, f"{kind[0]}/*", "*/*")
        return next((qualities[name] for name in ranges if name in qualities), 0)

    accept = ", ".join(f"{name};q={q}" for name, q in qualities.items())
    kind = negotiate(accept, KINDS)
    assert (0 if kind is None else quality(kind)) == max(map(quality, KINDS))


@given(st.text())
@pytest.mark.any_store
def test_accept_may_be_anything(accept: str) -> None:
    assert negotiate(accept, KINDS) in (None, *KINDS)


@pytest.mark.parametrize("pace", [0, 0.001])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_text_is_the_bare_characters(version: str, pace: float) -> None:
    async with inside(Settings(pace=pace)) as chat:
        answer = await chat.raw(
            "POST /api/chat", TEXT, body=body(HARD), version=version
        )
        assert answer.body.decode() == HARD
        assert answer.complete
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert (
            answer.headers["Cache-Control"]
            == "private, no-store, no-cache, no-transform"
        )
        assert answer.headers["X-Accel-Buffering"] == "no"
        again = await chat.raw(f"GET /api/chat/{answer.reply}?after=3", TEXT)
        assert again.body.decode() == HARD[3:]


async def test_text_of_a_failed_reply_never_looks_complete() -> None:
    async with inside(backend=Scripted("ab", ValueError())) as chat:
        answer = await chat.raw("POST /api/chat", TEXT, body=body("hi"))
        assert answer.body == b"ab"
        assert not answer.complete


async def test_text_without_chunks_that_fails_never_looks_complete() -> None:
    """A body of HTTP/1.0 ends with its connection; only a reset is no end."""
    go = asyncio.Event()
    async with inside(backend=Scripted("\n", go, ValueError())) as chat:
        asked = ("POST /api/chat", TEXT)
        reader, _ = await chat.connect(*asked, body=body("hi"), version="HTTP/1.0")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n\n"), 5)
        go.set()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        await chat.nothing_left()


async def test_the_whole_reply_as_json() -> None:
    async with inside(Settings(pace=0.001)) as chat:
        answer = await chat.raw("POST /api/chat", JSON, body=body(HARD))
        assert json.loads(answer.body) == {
            "reply": answer.reply,
            "state": "done",
            "finish_reason": "stop",
            "after": 0,
            "text": HARD,
            "next": len(HARD),
        }
        await chat.nothing_left()


async def test_whole_json_of_a_failed_reply_is_a_502_with_what_there_is() -> None:
    async with inside(backend=Scripted("ab", ValueError("secret"))) as chat:
        answer = await chat.raw("POST /api/chat", JSON, body=body("hi"))
        told = json.loads(answer.body)
        assert answer.status == 502
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert told["type"] == "/problems/backend-failed"
        assert (told["text"], told["next"], told["state"]) == ("ab", 2, "failed")
        assert b"secret" not in answer.body


async def test_a_get_with_a_message_waits_as_a_post_does() -> None:
    async with inside(backend=Scripted(asyncio.Event())) as chat:
        path = "/api/chat?message=hi&wait="
        told = await chat.json("GET", f"{path}0")
        assert (told["state"], told["text"]) == ("running", "")
        refused = await chat.json("GET", f"{path}31")
        assert refused["type"] == "/problems/invalid-request"
        assert (await chat.metrics())["chatsvc_replies_started_total"] == 1
        await _stop(chat, told["reply"])


async def test_a_snapshot_waits_for_nothing() -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted("ab", go, "c")) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.replies.running and _text_of(chat, reply))
        await _snapshot(chat, reply, 0, "a", 1, "running")
        go.set()
        await chat.read(reply)
        await _snapshot(chat, reply, 1, "bc", 3, "done")
        await _snapshot(chat, reply, 3, "", 3, "done")


def _text_of(chat: Inside, reply: str) -> str:
    return chat.opened[reply].log.text(0)


async def _snapshot(
    chat: Inside, reply: str, after: int, text: str, following: int, state: str
) -> None:
    got = await chat.json("GET", f"/api/chat/{reply}?after={after}")
    reason = "stop" if state == "done" else None
    assert got == {
        "reply": reply,
        "state": state,
        "finish_reason": reason,
        "after": after,
        "text": text,
        "next": following,
    }


async def test_a_long_poll_waits_for_text_and_no_longer() -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted(go, "a\n")) as chat:
        reply = await chat.start("hi")
        empty = await chat.json("GET", f"/api/chat/{reply}?after=0&wait=0.01")
        assert (empty["text"], empty["state"]) == ("", "running")
        path = f"/api/chat/{reply}?after=0&wait=30"
        waiting = asyncio.create_task(chat.json("GET", path))
        await eventually(lambda: chat.opened[reply].readers)
        go.set()
        async with asyncio.timeout(10):
            got = await waiting
        assert got["text"].startswith("a")
        assert got["next"] == len(got["text"])
        await chat.nothing_left()


async def test_a_node_that_leaves_answers_a_long_poll_with_news_or_sends_it_away() -> (
    None
):
    """An empty answer at once would make a client ask without a pause."""
    async with inside(backend=Scripted("a\n", asyncio.Event())) as chat:
        reply = await chat.start("hi")
        path = f"GET /api/chat/{reply}?wait=30"
        waiting = asyncio.create_task(chat.raw(f"{path}&after=2", JSON))
        await eventually(lambda: chat.opened[reply].readers)
        chat.send_readers_away()
        for told in (await waiting, await chat.raw(f"{path}&after=2", JSON)):
            assert (told.status, told.headers["Retry-After"]) == (503, "1")
            assert json.loads(told.body)["type"] == "/problems/draining"
        assert json.loads((await chat.raw(path, JSON)).body)["text"] == "a\n"
        await _stop(chat, reply)
        told = await chat.raw(f"{path}&after=2", JSON)
        assert json.loads(told.body)["state"] == "stopped"
        await chat.nothing_left()


async def test_a_reply_that_was_begun_by_a_poll_is_told_when_its_node_leaves() -> None:
    """Whoever is sent away without its id would begin another."""
    async with inside(backend=Scripted(asyncio.Event())) as chat:
        body = b'{"message": "hi"}'
        begun = asyncio.create_task(chat.raw("POST /api/chat?wait=30", JSON, body=body))
        await eventually(lambda: [r for r in chat.opened.values() if r.readers])
        chat.send_readers_away()
        told = json.loads((await begun).body)
        assert (told["state"], told["text"]) == ("running", "")
        await _stop(chat, told["reply"])


@pytest.mark.parametrize("pace", [0, 0.002])
async def test_a_chain_of_long_polls_has_the_text_once(pace: float) -> None:
    async with inside(Settings(pace=pace)) as chat:
        got = await chat.json("POST", "/api/chat?wait=0", HARD)
        text, reply = got["text"], got["reply"]
        while got["state"] == "running":
            path = f"/api/chat/{reply}?after={got['next']}&wait=30"
            got = await chat.json("GET", path)
            assert got["after"] == len(text)
            text += got["text"]
        assert text == HARD
        await chat.nothing_left()


async def test_stopping_before_the_first_character() -> None:
    backend = Scripted(asyncio.Event())
    async with inside(backend=backend) as chat:
        reply = await chat.start("hi")
        got = await _stop(chat, reply)
        assert got == (
            200,
            {"reply": reply, "state": "stopped", "next": 0, "offset": 0},
        )
        assert not backend.open
        await chat.nothing_left()


async def test_stopping_in_the_middle_ends_every_reader_at_the_same_place() -> None:
    async with inside(Settings(pace=0.1)) as chat:
        reader, writer = await chat.connect(
            "POST /api/chat", TEXT, body=body("x" * 9999)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        reply = head.partition(b"X-Reply-Id: ")[2][:22].decode()
        begun = await reader.readuntil(b"x\r\n1\r\nx\r\n")
        events = asyncio.create_task(chat.read(reply))
        await eventually(lambda: chat.opened[reply].readers == 2)
        status, told = await _stop(chat, reply)
        assert (status, told["state"]) == (200, "stopped")
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        stopped = await events
        assert (begun + rest).count(b"x") == told["next"] < 9999
        assert stopped.body.count(b"data: x") == told["next"]
        assert b'event: stopped\ndata: {"type":"/problems/stopped"' in stopped.body
        assert stopped.body.endswith(b"data: [DONE]\n\n")
        assert await _stop(chat, reply) == (200, told)
        writer.close()
        await chat.nothing_left()


async def test_stopping_what_has_ended_changes_nothing(chat: Inside) -> None:
    reply = await chat.start("abc")
    await chat.read(reply)
    told = {"reply": reply, "state": "done", "next": 3, "offset": 3}
    assert await _stop(chat, reply) == (200, told)


async def test_a_stop_does_not_wait_for_a_backend_that_will_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.replies.replies.STOP_WAIT_S", 0.05)
    go = asyncio.Event()

    async def stubborn(messages: Any) -> Any:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            await go.wait()

    async with inside(backend=stubborn) as chat:
        reply = await chat.start("hi")
        told = {"reply": reply, "state": "stopped", "next": 0, "offset": 0}
        assert await _stop(chat, reply) == (202, told)
        go.set()
        await chat.nothing_left()
        assert await _stop(chat, reply) == (200, told)


async def _stop(chat: Inside, reply: str) -> tuple[int, Any]:
    async with chat.session.post(f"{chat.url}/api/chat/{reply}/stop") as response:
        return response.status, await response.json()


async def test_a_repeated_key_attaches(chat: Inside) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await chat.start("abc", **headers)
    assert await chat.start("abc", **headers) == first
    answer = await chat.raw(
        "POST /api/chat", "Idempotency-Key: once", TEXT, body=body("abc")
    )
    assert (answer.reply, answer.body) == (first, b"abc")
    assert (await chat.metrics())["chatsvc_replies_started_total"] == 1


async def test_a_key_may_be_repeated_at_the_same_time() -> None:
    backend = Scripted("ab")
    async with inside(backend=backend) as chat:
        answers = await asyncio.gather(
            *(
                chat.raw("POST /api/chat", "Idempotency-Key: k", body=body("hi"))
                for _ in range(20)
            )
        )
        assert len({answer.reply for answer in answers}) == 1
        assert len({without_comments(answer.body) for answer in answers}) == 1
        assert backend.calls == 1


async def test_a_conversation_is_given_to_the_backend() -> None:
    backend = Scripted("a")
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "你好"},
    ]
    asked = json.dumps({"messages": turns, "unknown": [1]}).encode()
    async with inside(backend=backend) as chat:
        await chat.raw("POST /api/chat", body=asked)
    assert backend.asked == [turns]


async def test_a_reply_over_the_limit_ends_with_length() -> None:
    async with inside(Settings(pace=0, max_reply=10)) as chat:
        answer = await chat.raw("POST /api/chat", JSON, body=body("你好你好"))
        told = json.loads(answer.body)
        assert told["text"] == "你好你"
        assert (told["state"], told["finish_reason"]) == ("done", "length")


async def test_nobody_reading_abandons_a_reply() -> None:
    backend = Scripted("a", asyncio.Event())
    async with inside(Settings(grace=0.05), backend=backend) as chat:
        reply = await chat.start("hi")
        await chat.nothing_left()
        got = await chat.json("GET", f"/api/chat/{reply}")
        assert (got["state"], got["finish_reason"]) == ("stopped", "abandoned")
        assert not backend.open


async def test_a_connection_that_is_kept_open_keeps_no_reply() -> None:
    go = asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("ab", go, "c")) as chat:
        asked = ("POST /api/chat", "Accept: text/plain")
        reader, _ = await chat.connect(*asked, body=b'{"message": "hi"}')
        await asyncio.wait_for(reader.readuntil(b"\r\na\r\n"), 5)
        (reply,) = map(weakref.ref, chat.opened.values())
        go.set()
        await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        await chat.nothing_left()
        await eventually(lambda: reply() is None)
        assert not reader.at_eof()
